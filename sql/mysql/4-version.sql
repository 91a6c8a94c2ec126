-- Written last: from 4 on there is holdfast_copies.
INSERT INTO holdfast_version (version, created_at) VALUES (4, UTC_TIMESTAMP(6))
  ON DUPLICATE KEY UPDATE version = holdfast_version.version;
