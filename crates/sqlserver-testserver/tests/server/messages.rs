//! Publishing and reading.

use sqlserver_testserver::TestServer;

use crate::support::{call, command, connect, epoch, install, node, number, publish};

#[tokio::test]
async fn what_is_published_is_read_once() {
    let server = TestServer::launch().await.unwrap();
    let mut client = connect(&server).await;
    install(&mut client, "scaleout", "chat", 2).await;
    let epoch = epoch(&mut client, "scaleout").await;

    for (number, size) in [(1, 0), (2, 1), (3, 8000), (4, 8001), (5, 8 << 20)] {
        let payload: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let rows = call(&mut client, publish("scaleout", epoch, number, payload)).await.unwrap().remove(0);
        let row = (rows[0].get(0), rows[0].get(1), rows[0].get(2), rows[0].get(3), rows[0].get::<i32, _>(4));
        assert_eq!(row, (Some(0_i32), Some(number), Some(number), Some(number), None));
    }
    let again = call(&mut client, publish("scaleout", epoch, 5, vec![1])).await.unwrap().remove(0);
    assert_eq!(
        (again[0].get(0), again[0].get::<i64, _>(1), again[0].get(3)),
        (Some(1_i32), None, Some(5_i64))
    );
    let ahead = call(&mut client, publish("scaleout", epoch, 7, vec![1])).await.unwrap().remove(0);
    assert_eq!((ahead[0].get(0), ahead[0].get(3)), (Some(2_i32), Some(5_i64)));
    let wrong = call(&mut client, publish("scaleout", epoch + 1, 6, vec![1])).await;
    assert_eq!(number(wrong), 50010);

    let read = |rows: i32, bytes: i64| command!("scaleout", "read", "@epoch": epoch, "@after_0": -1_i64, "@max_rows": rows, "@max_bytes": bytes);
    let results = call(&mut client, read(100, i64::MAX)).await.unwrap();
    assert_eq!(results.len(), 1, "one result for each stream that is wanted");
    assert_eq!(results[0].len(), 6);
    for (place, row) in results[0].iter().enumerate() {
        let place = place as i64;
        assert_eq!((row.get(0), row.get(1)), (Some(0_i16), Some(place)));
        assert_eq!((row.get(2), row.get(3)), (Some(epoch), Some(place)));
        assert!(row.get::<i64, _>(6).unwrap() > 0);
    }
    let last: &[u8] = results[0][5].get(7).unwrap();
    assert_eq!(last.len(), 8 << 20);
    assert!(last.iter().enumerate().all(|(at, byte)| *byte == (at % 251) as u8));

    assert_eq!(call(&mut client, read(2, i64::MAX)).await.unwrap()[0].len(), 2);
    assert_eq!(call(&mut client, read(100, 8000)).await.unwrap()[0].len(), 3);
    assert_eq!(call(&mut client, read(100, 0)).await.unwrap()[0].len(), 2, "rows without bytes cost nothing");

    let elsewhere = command!("scaleout", "read", "@epoch": epoch + 1, "@after_0": 0_i64, "@after_1": None::<i64>,
        "@max_rows": 1_i32, "@max_bytes": 1_i64);
    assert_eq!(number(call(&mut client, elsewhere).await), 50010);
    let held =
        call(&mut client, command!("scaleout", "held", "@stream": 0_i16, "@node": node(1))).await.unwrap();
    assert_eq!(held[0][0].get(0), Some(5_i64));
    assert_eq!(server.log("scaleout", 0).len(), 6);
    assert_eq!(server.senders("scaleout"), [(0, [1; 16], 5)]);
    assert_eq!(server.requests_of("publish"), 8);
}
