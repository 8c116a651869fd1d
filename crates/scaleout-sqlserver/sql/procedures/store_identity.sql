-- Which database this is: it changes where another copy takes over, which may have forgotten rows (a restore, another replica of an
-- availability group, another server). Everybody may see the row of the database that they are connected to; it is found by
-- its name, because on Azure SQL Database DB_ID() is not what sys.databases calls it.
CREATE FUNCTION $(schema).store_identity()
RETURNS nvarchar(400)
AS
BEGIN
    DECLARE @created datetime;
    SELECT @created = create_date FROM sys.databases WHERE name = DB_NAME();
    RETURN CONCAT(CAST(SERVERPROPERTY(N'ServerName') AS nvarchar(128)), N'/', DB_NAME(), N'/', CONVERT(nvarchar(30), @created, 126));
END;
