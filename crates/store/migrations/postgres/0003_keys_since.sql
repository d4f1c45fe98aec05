-- The first leaf a person's key may seal: what is older was sealed with one that is destroyed.
ALTER TABLE subject_key ADD COLUMN since BIGINT NOT NULL DEFAULT 0;
