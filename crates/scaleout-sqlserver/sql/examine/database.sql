-- What the database is: (compatibility level, row versioning, delayed durability).
SELECT d.compatibility_level, d.is_read_committed_snapshot_on, d.delayed_durability
FROM sys.databases AS d
WHERE d.name = DB_NAME();
