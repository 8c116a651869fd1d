-- Appends one frame to stream $(stream), once. Result: (outcome, seq, id, held, doorbell_error).
--   outcome 0  appended as (seq, id)
--           1  the stream holds frames of this node up to number "held" already: nothing added
--           2  the stream holds frames of this node up to "held" only, which is less than @after: nothing added
-- Order inside the transaction: row of the stream, row of the sender, the message. Nothing else is locked, so publishers cannot
-- deadlock. The doorbell is rung after the commit: the listeners are no part of what publishers wait for, and whoever
-- arms after this look at them sees the message.
CREATE PROCEDURE $(schema).publish_$(stream)
    @epoch bigint,
    @node binary(16),
    @number bigint,
    @after bigint,
    @payload varbinary(max)
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'publish must not run inside a transaction', 1;
    DECLARE @seq bigint, @first_seq bigint, @bytes bigint, @held bigint, @doorbell_error int;

    BEGIN TRANSACTION;
    UPDATE $(schema).streams SET last_seq = last_seq + 1, bytes = bytes + DATALENGTH(@payload)
    WHERE stream = $(stream) AND epoch = @epoch;
    IF @@ROWCOUNT <> 1
    BEGIN
        ROLLBACK TRANSACTION;
        THROW 50010, N'the store has another epoch', 1;
    END;
    SELECT @seq = last_seq, @first_seq = first_seq, @bytes = bytes FROM $(schema).streams WHERE stream = $(stream);
    SET @held = 0;
    SELECT @held = last_number FROM $(schema).senders WHERE stream = $(stream) AND node = @node;
    IF @number <= @held OR @held < @after
    BEGIN
        ROLLBACK TRANSACTION;
        SELECT CASE WHEN @number <= @held THEN 1 ELSE 2 END, CAST(NULL AS bigint), CAST(NULL AS bigint), @held, CAST(NULL AS int);
        RETURN;
    END;
    UPDATE $(schema).senders SET last_number = @number, seen_at = SYSUTCDATETIME()
    WHERE stream = $(stream) AND node = @node;
    IF @@ROWCOUNT = 0
        INSERT INTO $(schema).senders (stream, node, last_number, seen_at)
        VALUES ($(stream), @node, @number, SYSUTCDATETIME());
    INSERT INTO $(schema).messages_$(stream) (seq, epoch, id, at, bytes, payload)
    VALUES (@seq, @epoch, @seq - @first_seq, SYSUTCDATETIME(), @bytes, @payload);
    COMMIT TRANSACTION;

    IF EXISTS (SELECT 1 FROM $(schema).listeners WHERE armed = 1)
    BEGIN
        BEGIN TRY
            EXEC $(schema).ring $(stream);
        END TRY
        BEGIN CATCH
            IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
            SET @doorbell_error = ERROR_NUMBER();           -- the frame is in the store all the same
        END CATCH;
    END;
    SELECT 0, @seq, @seq - @first_seq, @number, @doorbell_error;
END;
