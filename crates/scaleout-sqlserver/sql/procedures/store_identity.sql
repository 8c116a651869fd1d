-- Which database this is: it changes where another copy takes over, which may have forgotten rows (a restore, another replica of an
-- availability group, another server). Everybody may see the row of the database that they are connected to.
CREATE FUNCTION $(schema).store_identity()
RETURNS nvarchar(400)
AS
BEGIN
    RETURN (
        SELECT CONCAT(CAST(SERVERPROPERTY(N'ServerName') AS nvarchar(128)), N'/', d.name, N'/', CONVERT(nvarchar(30), d.create_date, 126))
        FROM sys.databases AS d
        WHERE d.database_id = DB_ID()
    );
END;
