-- What the server is, and who asks: (version, edition by number, edition, version of Babelfish, user). It runs on servers of any age.
-- SQL Server does not know the fourth property, which is NULL there.
SELECT CAST(SERVERPROPERTY(N'ProductVersion') AS nvarchar(128)), CAST(SERVERPROPERTY(N'EngineEdition') AS int),
    CAST(SERVERPROPERTY(N'Edition') AS nvarchar(128)), CAST(SERVERPROPERTY(N'BabelfishVersion') AS nvarchar(128)), USER_NAME();
