-- Deletes what is beyond retention from stream $(stream), oldest first, in batches of @batch rows (one autocommit transaction each), at
-- most @max_batches of them. Result: (deleted, more). One node at a time: another one gets (-1, 0) at once. What is left is
-- always one unbroken range, and never nothing: the last row stays, so that readers see how far the stream has come.
CREATE PROCEDURE $(schema).trim_$(stream)
    @keep_rows bigint,
    @keep_seconds int,
    @keep_bytes bigint,
    @batch int,
    @max_batches int
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'trim must not run inside a transaction', 1;
    DECLARE @granted int, @done bigint, @upto bigint, @last_seq bigint, @bytes bigint, @rows bigint, @deleted bigint,
        @cutoff datetime2(7), @oldest bigint;
    EXEC @granted = sp_getapplock @Resource = N'scaleout:trim:$(stream):$(schema_text)', @LockMode = N'Exclusive',
        @LockOwner = N'Session', @LockTimeout = 0;
    IF @granted < 0
    BEGIN
        SELECT CAST(-1 AS bigint), CAST(0 AS bit);
        RETURN;
    END;
    BEGIN TRY
        SET @cutoff = DATEADD(second, -@keep_seconds, SYSUTCDATETIME());
        SELECT @last_seq = last_seq, @bytes = bytes FROM $(schema).streams WHERE stream = $(stream);
        SELECT @done = MIN(seq) - 1 FROM $(schema).messages_$(stream);
        SET @deleted = 0;
        SET @rows = 1;
        WHILE @rows > 0 AND @max_batches > 0
        BEGIN
            SET @upto = NULL;
            SELECT @upto = MAX(seq) FROM $(schema).messages_$(stream)
            WHERE seq > @done AND seq <= @done + @batch AND seq < @last_seq
                AND (seq <= @last_seq - @keep_rows OR at < @cutoff OR bytes <= @bytes - @keep_bytes);
            DELETE FROM $(schema).messages_$(stream) WITH (ROWLOCK) WHERE seq > @done AND seq <= @upto;
            SET @rows = @@ROWCOUNT;
            SET @deleted = @deleted + @rows;
            SET @done = @upto;
            SET @max_batches = @max_batches - 1;
        END;
        IF @deleted > 0
        BEGIN
            SELECT TOP (1) @oldest = epoch FROM $(schema).messages_$(stream) ORDER BY seq;
            DELETE FROM $(schema).epochs WHERE stream = $(stream) AND epoch < @oldest;
        END;
        EXEC sp_releaseapplock @Resource = N'scaleout:trim:$(stream):$(schema_text)', @LockOwner = N'Session';
    END TRY
    BEGIN CATCH
        IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION;
        EXEC sp_releaseapplock @Resource = N'scaleout:trim:$(stream):$(schema_text)', @LockOwner = N'Session';
        THROW;
    END CATCH;
    SELECT @deleted, CAST(CASE WHEN @rows > 0 THEN 1 ELSE 0 END AS bit);
END;
