-- The last step before the commit: the layout row, whose presence says that all objects are there, and the first epoch of every
-- stream, which continues nothing. Where they are there already, the objects have just been brought to this version.
DECLARE @epoch bigint, @store nvarchar(400), @now datetime2(7);
IF EXISTS (SELECT 1 FROM $(schema).layout)
    UPDATE $(schema).layout SET schema_version = $(schema_version), compatible_from = $(compatible_from)
    WHERE schema_version < $(schema_version);
ELSE
BEGIN
    SET @now = SYSUTCDATETIME();
    SET @epoch = DATEDIFF_BIG(microsecond, '1970-01-01', @now);
    SET @store = $(schema).store_identity();
    INSERT INTO $(schema).layout (only_row, schema_version, compatible_from, app, table_count, epoch, store)
    VALUES (1, $(schema_version), $(compatible_from), N'$(app_text)', $(table_count), @epoch, @store);
    -- $(each stream)
    INSERT INTO $(schema).streams (stream, epoch, first_seq, last_seq, bytes) VALUES ($(stream), @epoch, 0, 0, 0);
    INSERT INTO $(schema).epochs (stream, epoch, first_seq, after_epoch, after_id, opened_at)
    VALUES ($(stream), @epoch, 0, NULL, NULL, @now);
    INSERT INTO $(schema).messages_$(stream) (seq, epoch, id, at, bytes, payload) VALUES (0, @epoch, 0, @now, 0, 0x);
    -- $(end)
END;
