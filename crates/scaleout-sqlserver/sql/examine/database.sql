-- What the database is: (compatibility level, row versioning, delayed durability, the server's clock in microseconds since 1970).
SELECT d.compatibility_level, d.is_read_committed_snapshot_on, d.delayed_durability,
    DATEDIFF_BIG(microsecond, '1970-01-01', SYSUTCDATETIME())
FROM sys.databases AS d
WHERE d.name = DB_NAME();
