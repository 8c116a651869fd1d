-- Begins a new history of all streams, because the store may have forgotten or replaced rows. Compare and set: of many callers that
-- name the same @old one opens it, for the others nothing happens. @seen is the greatest epoch that the caller knows of.
-- @after_known = 0 says that somebody may have appended since rows were lost, so that nobody can tell what the new history
-- continues: it holds nothing of any sender then, so that nodes append all that they still have, and those that were there before
-- report a gap. Called by nodes, and by a DBA after a restore that they cannot notice.
CREATE PROCEDURE $(schema).open_epoch
    @old bigint,
    @seen bigint,
    @after_known bit
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'open_epoch must not run inside a transaction', 1;
    DECLARE @new bigint, @store nvarchar(400);
    SET @store = $(schema).store_identity();
    SET @new = DATEDIFF_BIG(microsecond, '1970-01-01', SYSUTCDATETIME());
    IF @new <= @old SET @new = @old + 1;
    IF @new <= @seen SET @new = @seen + 1;

    BEGIN TRANSACTION;
    UPDATE $(schema).layout SET epoch = @new, store = @store WHERE epoch = @old;
    IF @@ROWCOUNT = 0
    BEGIN
        ROLLBACK TRANSACTION;
        RETURN;
    END;
    UPDATE $(schema).streams SET last_seq = last_seq + 1;
    IF @after_known = 0 DELETE FROM $(schema).senders;
    INSERT INTO $(schema).epochs (stream, epoch, first_seq, after_epoch, after_id, opened_at)
    SELECT stream, @new, last_seq,
        CASE WHEN @after_known = 1 THEN epoch END, CASE WHEN @after_known = 1 THEN last_seq - 1 - first_seq END, SYSUTCDATETIME()
    FROM $(schema).streams;
    UPDATE $(schema).streams SET epoch = @new, first_seq = last_seq;
    -- $(each stream)
    INSERT INTO $(schema).messages_$(stream) (seq, epoch, id, at, bytes, payload)
    SELECT last_seq, epoch, 0, SYSUTCDATETIME(), bytes, 0x FROM $(schema).streams WHERE stream = $(stream);
    -- $(end)
    COMMIT TRANSACTION;
END;
