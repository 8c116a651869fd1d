-- The last frame number that a stream holds of a node, 0 where there is none: (held).
CREATE PROCEDURE $(schema).held
    @stream smallint,
    @node binary(16)
AS
BEGIN
    SET NOCOUNT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    DECLARE @held bigint;
    SET @held = 0;
    SELECT @held = last_number FROM $(schema).senders WHERE stream = @stream AND node = @node;
    SELECT @held;
END;
