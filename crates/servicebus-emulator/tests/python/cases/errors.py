"""What is refused, and how the SDK understands it."""

import time
import uuid
from datetime import datetime, timedelta, timezone

from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.servicebus import ServiceBusMessage
from azure.servicebus._pyamqp.utils import generate_sas_token
from azure.servicebus.exceptions import (
    MessagingEntityNotFoundError,
    ServiceBusConnectionError,
    ServiceBusError,
)

from support import PATIENCE, body, case, raises, receive_one

def token(namespace, key=None, lives=3600, path=""):
    settings = namespace.settings
    key = key or settings["SharedAccessKey"]
    audience = settings["Endpoint"].rstrip("/") + path
    return generate_sas_token(audience, settings["SharedAccessKeyName"], key, int(time.time()) + lives)


@case
def a_wrong_key_sends_and_receives_nothing(namespace):
    with namespace.topic() as topic, namespace.client(key="d3Jvbmc=", retry_total=0) as stranger:
        with raises(*namespace.refused):
            with stranger.get_topic_sender(topic) as sender:
                sender.send_messages(ServiceBusMessage("x"))
        with raises(*namespace.refused):
            with stranger.get_subscription_receiver(topic, "s") as receiver:
                receiver.receive_messages(max_wait_time=1)


@case
def an_unknown_policy_is_refused(namespace):
    credential = AzureNamedKeyCredential("Nobody", namespace.settings["SharedAccessKey"])
    with namespace.topic() as topic, namespace.client(credential=credential, retry_total=0) as stranger:
        with raises(*namespace.refused):
            with stranger.get_topic_sender(topic):
                pass


@case
def a_ready_token_is_taken(namespace):
    for path in ("", "/TOPIC"):
        with namespace.topic() as topic:
            credential = AzureSasCredential(token(namespace, path=path.replace("TOPIC", topic)))
            with namespace.client(credential=credential) as client:
                with client.get_topic_sender(topic) as sender:
                    sender.send_messages(ServiceBusMessage("by token"))
                with client.get_subscription_receiver(topic, "s") as receiver:
                    assert body(receive_one(receiver)) == b"by token"


@case
def a_token_that_ran_out_or_is_of_another_topic_is_refused(namespace):
    with namespace.topic() as topic:
        refused = {
            "ran out": token(namespace, lives=-60),
            "another topic": token(namespace, path="/another"),
            "another key": token(namespace, key="d3Jvbmc="),
        }
        for why, text in refused.items():
            with namespace.client(credential=AzureSasCredential(text), retry_total=0) as client:
                try:
                    with client.get_topic_sender(topic):
                        raise AssertionError(f"taken, though it is: {why}")
                except namespace.refused:
                    pass


@case
def a_certificate_of_an_unknown_authority_is_not_trusted(namespace):
    if not namespace.is_secure:
        return
    # Those that the SDK brings along.
    with namespace.topic() as topic, namespace.client(connection_verify=None, retry_total=0) as client:
        with raises(ServiceBusConnectionError, saying="CERTIFICATE_VERIFY_FAILED"):
            with client.get_topic_sender(topic):
                pass


@case
def a_missing_topic_is_not_found(namespace):
    absent = f"py-{uuid.uuid4().hex}"
    with namespace.client() as client:
        with raises(MessagingEntityNotFoundError):
            with client.get_topic_sender(absent) as sender:
                sender.send_messages(ServiceBusMessage("x"))
        with raises(MessagingEntityNotFoundError):
            with client.get_subscription_receiver(absent, "s") as receiver:
                receiver.receive_messages(max_wait_time=1)


@case
def a_missing_subscription_is_not_found(namespace):
    with namespace.topic() as topic, namespace.client() as client:
        for queue in (None, "deadletter"):
            with raises(MessagingEntityNotFoundError):
                with client.get_subscription_receiver(topic, "absent", sub_queue=queue) as receiver:
                    receiver.receive_messages(max_wait_time=1)


@case
def a_topic_deleted_under_its_sender_is_not_found(namespace):
    name = f"py-{uuid.uuid4().hex}"
    with namespace.admin() as admin, namespace.client() as client:
        admin.create_topic(name)
        with client.get_topic_sender(name) as sender:
            sender.send_messages(ServiceBusMessage("x"))
            admin.delete_topic(name)
            with raises(MessagingEntityNotFoundError):
                sender.send_messages(ServiceBusMessage("x"))


@case
def a_subscription_deleted_under_its_receiver_is_not_found(namespace):
    with namespace.topic() as topic, namespace.admin() as admin, namespace.client() as client:
        with client.get_subscription_receiver(topic, "s") as receiver:
            admin.delete_subscription(topic, "s")
            with raises(MessagingEntityNotFoundError):
                receiver.receive_messages(max_wait_time=PATIENCE)


@case
def what_the_emulator_lacks_is_refused_on_the_link_too(namespace):
    with namespace.topic() as topic, namespace.client(retry_total=0) as client:
        tomorrow = datetime.now(timezone.utc) + timedelta(days=1)
        with client.get_topic_sender(topic) as sender:
            with raises(ServiceBusError):
                sender.schedule_messages(ServiceBusMessage("later"), tomorrow)
            with raises(ServiceBusError):
                sender.send_messages(ServiceBusMessage("later", scheduled_enqueue_time_utc=tomorrow))
            sender.send_messages(ServiceBusMessage("now"))
        with raises(ServiceBusError):
            with client.get_subscription_receiver(topic, "s", session_id="mine"):
                pass
        with client.get_subscription_receiver(topic, "s") as receiver:
            assert body(receive_one(receiver)) == b"now"
