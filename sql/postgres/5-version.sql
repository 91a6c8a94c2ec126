-- Written last: from 4 on the guard of 2-guard.sql asks for the table's unique indexes too, from 5 on
-- for what each column asks of a row. From 5 on there is holdfast_copies.
INSERT INTO holdfast_version (version) VALUES (5) ON CONFLICT DO NOTHING;
