-- The rows behind @after_<stream> of every stream where that is not NULL, one result set per such stream, as read_<stream> yields
-- them: one round trip, however many streams have something new.
CREATE PROCEDURE $(schema).[read]
    -- $(each stream)
    @after_$(stream) bigint = NULL,
    -- $(end)
    @max_rows int,
    @max_bytes bigint
AS
BEGIN
    SET NOCOUNT ON;
    -- $(each stream)
    IF @after_$(stream) IS NOT NULL EXEC $(schema).read_$(stream) @after_$(stream), @max_rows, @max_bytes;
    -- $(end)
END;
