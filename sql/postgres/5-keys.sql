-- Written last: where it says so, the guard of 2-guard.sql asks for the table's unique indexes too.
INSERT INTO holdfast_version (version) VALUES (4) ON CONFLICT DO NOTHING;
