"""Links and connections: opened again, many at once, over the other client of the SDK."""

import asyncio
import threading

from azure.servicebus import ServiceBusMessage, ServiceBusReceiveMode
from azure.servicebus import aio

from support import PATIENCE, SHORT_LOCK, bodies, body, case, raises, receive, receive_one


@case
def a_client_opens_links_again_after_it_closed_them(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        for index in range(5):
            with client.get_topic_sender(topic) as sender:
                sender.send_messages(ServiceBusMessage(f"{index}"))
            with client.get_subscription_receiver(topic, "s") as receiver:
                message = receive_one(receiver)
                assert body(message) == b"%d" % index
                receiver.complete_message(message)
        with raises(ValueError):
            sender.send_messages(ServiceBusMessage("closed"))


@case
def what_a_closed_receiver_held_comes_again(namespace):
    with namespace.topic(lock_duration=SHORT_LOCK) as topic, namespace.client() as client:
        namespace.publish(topic, "one", "two")
        with client.get_subscription_receiver(topic, "s") as receiver:
            held = receive(receiver, 2)
            receiver.complete_message(held[1])
        with client.get_subscription_receiver(topic, "s") as receiver:
            # By the end of its lock.
            message = receive_one(receiver)
            assert body(message) == b"one"
            assert message.enqueued_sequence_number == held[0].enqueued_sequence_number
            receiver.complete_message(message)


@case
def a_subscription_keeps_messages_while_nobody_listens(namespace):
    with namespace.topic() as topic:
        for index in range(3):
            namespace.publish(topic, f"{index}")
        with namespace.client() as client, client.get_subscription_receiver(topic, "s") as receiver:
            assert bodies(receive(receiver, 3)) == [b"0", b"1", b"2"]


@case
def one_sender_serves_several_topics_of_a_client(namespace):
    with namespace.topic() as one, namespace.topic() as two, namespace.client() as client:
        with client.get_topic_sender(one) as to_one, client.get_topic_sender(two) as to_two:
            for index in range(10):
                to_one.send_messages(ServiceBusMessage(f"one {index}"))
                to_two.send_messages(ServiceBusMessage(f"two {index}"))
        for topic, name in ((one, b"one"), (two, b"two")):
            with client.get_subscription_receiver(topic, "s") as receiver:
                messages = receive(receiver, 10)
            assert bodies(messages) == [b"%s %d" % (name, index) for index in range(10)]
            assert [message.enqueued_sequence_number for message in messages] == list(range(1, 11))


@case
def senders_side_by_side_lose_and_mix_nothing(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        faults = []

        def send(name):
            try:
                with client.get_topic_sender(topic) as sender:
                    for index in range(50):
                        sender.send_messages(ServiceBusMessage(f"{name} {index}"))
            except Exception as error:
                faults.append(error)

        threads = [threading.Thread(target=send, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        with client.get_subscription_receiver(
            topic, "s", receive_mode=ServiceBusReceiveMode.RECEIVE_AND_DELETE, prefetch_count=50
        ) as receiver:
            messages = receive(receiver, 200)
        for thread in threads:
            thread.join(PATIENCE)
        assert not faults, faults
    assert [message.enqueued_sequence_number for message in messages] == list(range(1, 201))
    for name in "abcd":
        own = [text for text in bodies(messages) if text.startswith(name.encode())]
        assert own == [f"{name} {index}".encode() for index in range(50)]


@case
def the_asynchronous_client_does_the_same(namespace):
    # Its WebSocket needs another library.
    if namespace.is_websocket:
        return

    async def talk(topic):
        async with namespace.client(of=aio.ServiceBusClient) as client:
            async with client.get_topic_sender(topic) as sender:
                await sender.send_messages([ServiceBusMessage(f"{index}") for index in range(5)])
            async with client.get_subscription_receiver(topic, "s") as receiver:
                seen = []
                while len(seen) < 5:
                    messages = await receiver.receive_messages(max_message_count=5, max_wait_time=PATIENCE)
                    assert messages, "nothing came"
                    for message in messages:
                        seen.append(body(message))
                        await receiver.complete_message(message)
                assert seen == [b"%d" % index for index in range(5)], seen
                assert await receiver.peek_messages() == []

    with namespace.topic() as topic:
        asyncio.run(talk(topic))
