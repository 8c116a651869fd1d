-- The rows behind @after_<stream> of every stream where that is not NULL, one result set per such stream, as read_<stream> yields
-- them: one round trip, however many streams have something new. Where the store has another epoch, or none, numbers of rows may mean others
-- than the caller has seen: 50010, it looks at the positions again.
CREATE PROCEDURE $(schema).[read]
    @epoch bigint,
    -- $(each stream)
    @after_$(stream) bigint = NULL,
    -- $(end)
    @max_rows int,
    @max_bytes bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    IF NOT EXISTS (SELECT 1 FROM $(schema).layout WHERE epoch = @epoch) THROW 50010, N'the store has another epoch', 1;
    -- $(each stream)
    IF @after_$(stream) IS NOT NULL EXEC $(schema).read_$(stream) @after_$(stream), @max_rows, @max_bytes;
    -- $(end)
END;
