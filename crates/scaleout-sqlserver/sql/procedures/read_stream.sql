-- The rows of stream $(stream) behind @after, in order: (stream, seq, epoch, id, after_epoch, after_id, at, payload); "at" is in
-- microseconds since 1970, "after_..." is what an epoch continues, in the row that opens it (id 0).
-- At most @max_rows rows and, after the first one, at most @max_bytes bytes. Right with and without row versioning: at
-- most one row of a stream is uncommitted and it is the last one, so what is seen has no hole. A first seq above @after + 1 means
-- that trim has been there.
CREATE PROCEDURE $(schema).read_$(stream)
    @after bigint,
    @max_rows int,
    @max_bytes bigint
AS
BEGIN
    SET NOCOUNT ON;
    SET TRANSACTION ISOLATION LEVEL READ COMMITTED;
    DECLARE @limit bigint, @upto bigint;
    SELECT TOP (1) @limit = bytes + @max_bytes FROM $(schema).messages_$(stream) WHERE seq > @after ORDER BY seq;
    SELECT @upto = MAX(t.seq)
    FROM (
        SELECT TOP (@max_rows) seq, bytes
        FROM $(schema).messages_$(stream)
        WHERE seq > @after
        ORDER BY seq
    ) AS t
    WHERE t.bytes <= @limit;
    -- TOP again, because the plan goes by it: few rows, in the order of the index, without a sort.
    SELECT TOP (@max_rows) CAST($(stream) AS smallint), m.seq, m.epoch, m.id, e.after_epoch, e.after_id,
        DATEDIFF_BIG(microsecond, '1970-01-01', m.at), m.payload
    FROM $(schema).messages_$(stream) AS m
    LEFT JOIN $(schema).epochs AS e ON e.stream = $(stream) AND e.epoch = m.epoch AND m.id = 0
    WHERE m.seq > @after AND m.seq <= @upto
    ORDER BY m.seq;
END;
