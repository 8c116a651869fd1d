"""What the SDK makes of the emulator's faults, which are of the whole namespace."""

import contextlib
import json
from urllib.request import Request, urlopen

from azure.servicebus import ServiceBusMessage
from azure.servicebus.exceptions import OperationTimeoutError, ServiceBusServerBusyError

from support import bodies, body, case_alone, raises, receive, receive_one


def inject(namespace, fault, **wish):
    address = namespace.settings["ManagementEndpoint"] + "/$emulator/faults"
    urlopen(Request(address, json.dumps({"fault": fault} | wish).encode(), method="POST")).close()


@contextlib.contextmanager
def healthy_afterwards(namespace):
    try:
        yield
    finally:
        inject(namespace, "clear")


@case_alone
def a_busy_service_is_told_and_tried_again(namespace):
    with namespace.topic() as topic, namespace.client() as patient, namespace.client(retry_total=0) as hasty:
        with healthy_afterwards(namespace), hasty.get_topic_sender(topic) as sender:
            sender.send_messages(ServiceBusMessage("one"))
            inject(namespace, "server-busy")
            with raises(ServiceBusServerBusyError):
                sender.send_messages(ServiceBusMessage("busy"))
            inject(namespace, "clear")
            with patient.get_topic_sender(topic) as other:
                inject(namespace, "server-busy", count=1)
                other.send_messages(ServiceBusMessage("two"))
            sender.send_messages(ServiceBusMessage("three"))
        with patient.get_subscription_receiver(topic, "s") as receiver:
            assert bodies(receive(receiver, 3)) == [b"one", b"two", b"three"]


@case_alone
def links_and_connections_that_break_are_made_anew(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        with client.get_topic_sender(topic) as sender, client.get_subscription_receiver(topic, "s") as receiver:
            for fault in ("detach", "kill-connections"):
                sender.send_messages(ServiceBusMessage(f"before {fault}"))
                message = receive_one(receiver)
                assert body(message) == f"before {fault}".encode()
                receiver.complete_message(message)
                inject(namespace, fault)
                sender.send_messages(ServiceBusMessage(f"after {fault}"))
                message = receive_one(receiver)
                assert body(message) == f"after {fault}".encode()
                receiver.complete_message(message)


@case_alone
def an_outcome_that_never_comes_is_waited_for_no_longer_than_told(namespace):
    with namespace.topic() as topic, namespace.client(retry_total=0) as client:
        with client.get_topic_sender(topic) as sender:
            inject(namespace, "lose-outcomes", count=1)
            with raises(OperationTimeoutError):
                sender.send_messages(ServiceBusMessage("stored all the same"), timeout=3)
        with client.get_subscription_receiver(topic, "s") as receiver:
            assert body(receive_one(receiver)) == b"stored all the same"
