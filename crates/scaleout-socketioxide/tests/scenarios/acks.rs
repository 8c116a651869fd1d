//! What sockets answer.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use scaleout_socketioxide::{AdapterConfig, Delivery};
use socketioxide::AckError;

use super::{
    client::{Client, Got},
    world::{Adapter, Node, Setup, Store, clients, nodes, nodes_with, soon, until},
};

/// All answers, by socket.
async fn ask(node: &Node) -> BTreeMap<String, String> {
    let acks = node.io.broadcast().emit_with_ack::<_, String>("who", "you").await.expect("it can be asked");
    let acks: Vec<_> = soon(acks.collect()).await;
    acks.into_iter().map(|(sid, answer)| (sid.to_string(), answer.expect("an answer"))).collect()
}

async fn answer(client: &mut Client, text: &str) {
    let (id, json) = client.question().await;
    assert_eq!(json, r#"["who","you"]"#);
    client.answer(&id, &format!(r#"["{text}"]"#)).await;
}

fn expected<const N: usize>(answers: [(&Client, &str); N]) -> BTreeMap<String, String> {
    answers.into_iter().map(|(client, text)| (client.sid.clone(), text.to_owned())).collect()
}

pub(crate) async fn every_socket_of_every_node_is_heard(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let [mut first, mut second, mut third] = clients(&nodes).await;
    let mut fourth = nodes[2].client("/").await;
    let (answers, ..) = tokio::join!(
        ask(&nodes[0]),
        answer(&mut first, "1"),
        answer(&mut second, "2"),
        answer(&mut third, "3"),
        answer(&mut fourth, "4"),
    );
    assert_eq!(answers, expected([(&first, "1"), (&second, "2"), (&third, "3"), (&fourth, "4")]));
    assert_eq!(nodes[0].ctr.counters().partial_answers, 0);
}

pub(crate) async fn an_ordered_broadcast_hears_all_too(store: &impl Store) {
    let config = AdapterConfig::default().with_delivery(Delivery::Ordered);
    let nodes = nodes_with::<2>(store, &Setup { config, ..Setup::default() }).await;
    let [mut first, mut second] = clients(&nodes).await;
    let (answers, ..) = tokio::join!(ask(&nodes[0]), answer(&mut first, "1"), answer(&mut second, "2"));
    assert_eq!(answers, expected([(&first, "1"), (&second, "2")]));
}

pub(crate) async fn binary_acks_arrive_as_they_are(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let mut clients = clients(&nodes).await;
    let question = Bytes::from_static(&[9, 0, 255]);
    let acks = nodes[0].io.broadcast().emit_with_ack::<_, Bytes>("what", &question);
    let acks = acks.await.expect("it can be asked");
    for (index, client) in clients.iter_mut().enumerate() {
        let Got::Text(head) = client.raw().await else { panic!("text comes first") };
        assert_eq!(client.raw().await, Got::Bytes(question.clone()));
        let id = head.trim_start_matches("51-").split('[').next().expect("an id").to_owned();
        client.answer_bytes(&id, Bytes::from(vec![index as u8; 3])).await;
    }
    let acks: Vec<_> = soon(acks.collect()).await;
    let mut answers: Vec<_> = acks.into_iter().map(|(_, answer)| answer.expect("an answer")).collect();
    answers.sort();
    assert_eq!(answers, [Bytes::from_static(&[0; 3]), Bytes::from_static(&[1; 3])]);
}

pub(crate) async fn nobody_to_ask_ends_at_once(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    assert_eq!(ask(&nodes[0]).await, BTreeMap::new());
    let _clients = clients(&nodes).await;
    let acks = nodes[1].io.to("nobody").emit_with_ack::<_, String>("who", "you").await;
    let acks: Vec<_> = soon(acks.expect("it can be asked").collect()).await;
    assert!(acks.is_empty());
}

pub(crate) async fn a_silent_socket_times_out_wherever_it_is(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [mut first, second] = clients(&nodes).await;
    let third = nodes[0].client("/").await;
    let to_all = nodes[0].io.timeout(Duration::from_millis(500)).broadcast();
    let acks = to_all.emit_with_ack::<_, String>("who", "you").await.expect("it can be asked");
    answer(&mut first, "1").await;
    let acks: Vec<_> = soon(acks.collect()).await;
    let outcome = |client: &Client| {
        let (_, outcome) = acks.iter().find(|(sid, _)| sid.as_str() == client.sid).expect("it is told");
        outcome
    };
    assert_eq!(outcome(&first).as_ref().ok(), Some(&"1".to_owned()));
    assert!(matches!(outcome(&second), Err(AckError::Timeout)), "elsewhere");
    assert!(matches!(outcome(&third), Err(AckError::Timeout)), "here");
    assert_eq!(nodes[0].ctr.counters().partial_answers, 0, "the node has answered");
}

/// A socket as the others see it.
async fn remote(node: &Node, sid: &str) -> socketioxide::socket::RemoteSocket<Adapter> {
    let sockets = node.io.broadcast().fetch_sockets().await.expect("all answer");
    sockets.into_iter().find(|socket| socket.data().id.as_str() == sid).expect("it is connected")
}

pub(crate) async fn one_socket_here_answers(store: &impl Store) {
    let nodes = nodes::<2>(store).await;
    let [mut first, _second] = clients(&nodes).await;
    let socket = remote(&nodes[0], &first.sid).await;
    let asked = nodes[0].ctr.counters().published;
    let acks = socket.emit_with_ack::<_, String>("who", "you").await.expect("it can be asked");
    answer(&mut first, "here").await;
    assert_eq!(soon(acks).await.expect("an answer"), "here");
    assert_eq!(nodes[0].ctr.counters().published, asked, "it does not travel");
}

pub(crate) async fn one_socket_elsewhere_answers(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let [_first, mut second, _third] = clients(&nodes).await;
    let socket = remote(&nodes[0], &second.sid).await;
    let received = nodes[2].ctr.counters().received;
    let acks = socket.emit_with_ack::<_, String>("who", "you").await.expect("it can be asked");
    answer(&mut second, "there").await;
    let acks: Vec<_> = soon(acks.collect()).await;
    assert_eq!(acks.len(), 1, "and the stream has ended, though the time-out is far");
    assert_eq!(acks[0].1.as_ref().expect("an answer"), "there");
    socket.emit("to", "one").await.expect("the store has it");
    second.expect("to", "one").await;
    assert_eq!(nodes[2].ctr.counters().received, received, "nobody else is bothered");
}

pub(crate) async fn a_node_that_leaves_is_not_waited_for(store: &impl Store) {
    let nodes = nodes::<3>(store).await;
    let [mut first, mut second, _third] = clients(&nodes).await;
    let [here, there, gone] = nodes;
    let answers = async {
        // Node three has the question, and goes without an answer.
        until("it is asked", || gone.ctr.counters().received > 0).await;
        answer(&mut first, "1").await;
        answer(&mut second, "2").await;
        gone.leave().await;
    };
    let (answers, ()) = tokio::join!(ask(&here), answers);
    assert_eq!(answers, expected([(&first, "1"), (&second, "2")]));
    assert_eq!(here.ctr.counters().partial_answers, 0, "who leaves is not missing");
    drop(there);
}
