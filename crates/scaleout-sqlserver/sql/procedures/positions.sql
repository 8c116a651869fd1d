-- Where the store stands; connecting and idle polling use this one call for all streams. A busy stream is polled with "read", which leaves
-- the rows of "streams" to the publishers. Three results:
--   (schema_version, compatible_from, app, table_count, epoch, same_store): same_store = 0 says that another copy of the database has
--       taken over since the epoch was opened, so that nothing may be appended before a new one is;
--   (stream, epoch, first_seq, last_seq), one row per stream;
--   (stream, epoch, first_seq, after_epoch, after_id), one row per stream and epoch, by stream and epoch.
-- Each result is of its own moment and none is older than the one before it: where an epoch begins meanwhile, the later
-- results know it already, and what holds for a stream is the epoch in its own row.
CREATE PROCEDURE $(schema).positions
AS
BEGIN
    SET NOCOUNT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    DECLARE @store nvarchar(400);
    SET @store = $(schema).store_identity();
    SELECT schema_version, compatible_from, app, table_count, epoch, CASE WHEN store = @store THEN 1 ELSE 0 END FROM $(schema).layout;
    SELECT stream, epoch, first_seq, last_seq FROM $(schema).streams ORDER BY stream;
    SELECT stream, epoch, first_seq, after_epoch, after_id FROM $(schema).epochs ORDER BY stream, epoch;
END;
