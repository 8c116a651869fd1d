-- Says that a node lives, so that what the streams hold of it is not forgotten, and drops nodes that nobody has renewed for
-- @keep_seconds. Result: (dropped). Called by every node now and then.
CREATE PROCEDURE $(schema).renew
    @node binary(16),
    @keep_seconds int
AS
BEGIN
    SET NOCOUNT ON;
    SET XACT_ABORT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF @@TRANCOUNT > 0 THROW 50001, N'renew must not run inside a transaction', 1;
    UPDATE $(schema).senders SET seen_at = SYSUTCDATETIME() WHERE node = @node;
    DELETE FROM $(schema).senders WHERE seen_at < DATEADD(second, -@keep_seconds, SYSUTCDATETIME());
    SELECT @@ROWCOUNT;
END;
