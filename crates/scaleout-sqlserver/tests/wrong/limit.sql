SELECT seq FROM [scaleout].messages_0 ORDER BY seq LIMIT 10;
