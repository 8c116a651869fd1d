"""What the cases share: clients of one namespace, topics that go with the case, patience."""

import contextlib
import time
import uuid
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from azure.core.pipeline.transport import RequestsTransport
from azure.servicebus import ServiceBusClient, ServiceBusMessage, TransportType
from azure.servicebus.exceptions import (
    ServiceBusAuthenticationError,
    ServiceBusAuthorizationError,
    ServiceBusConnectionError,
)
from azure.servicebus.management import ServiceBusAdministrationClient

# For what must come: long, since it is waited for only where something is wrong.
PATIENCE = 60

# For what must not come: each passing case pays it.
SILENCE = 1

# Longer than any case takes.
LOCK = timedelta(minutes=1)

# For cases that wait for its end; on a busy machine a shorter one may end before what it protects is done.
SHORT_LOCK = timedelta(seconds=8)

CASES = []

# Those of them that see what the others do.
CASES_ALONE = []


def case(function):
    """Registers a case: a function of a `Namespace`. Its name is the rule it checks."""
    CASES.append(function)
    return function


def case_alone(function):
    """As `case`, for one that runs while no other does."""
    CASES_ALONE.append(function)
    return function


class PlainHttp(RequestsTransport):
    """The client of the management API says `https` whatever it is told."""

    def send(self, request, **arguments):
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **arguments)


@dataclass(frozen=True)
class Namespace:
    """Where the emulator listens, and how it is spoken to."""

    connection_string: str
    # One of amqp, amqps, ws, wss; None: as the connection string says.
    through: str | None = None
    ca: str | None = None
    management: str | None = None
    # Whether the SDK logs every frame.
    trace: bool = False

    @property
    def refused(self):
        """What the SDK raises where a token is refused."""
        # Where it was told an endpoint of its own, it takes that for the cause.
        lost = (ServiceBusConnectionError,) if self.is_secure or self.is_websocket else ()
        return (ServiceBusAuthenticationError, ServiceBusAuthorizationError, *lost)

    @property
    def scheme(self):
        return urlsplit(self.through or "amqp:").scheme

    @property
    def is_secure(self):
        return self.scheme in ("amqps", "wss")

    @property
    def is_websocket(self):
        return self.scheme in ("ws", "wss")

    @property
    def settings(self):
        return dict(pair.split("=", 1) for pair in self.connection_string.rstrip(";").split(";"))

    def client(self, key=None, credential=None, of=ServiceBusClient, **options):
        """A client of the data plane. `credential` stands in for the key, `of` for the class of the SDK."""
        options = {"retry_total": 2, "retry_backoff_factor": 0.2, "logging_enable": self.trace} | options
        if self.through is not None:
            address = urlsplit(self.through).netloc
            options["transport_type"] = TransportType.AmqpOverWebsocket if self.is_websocket else TransportType.Amqp
            if self.is_secure or self.is_websocket:
                options["custom_endpoint_address"] = f"sb://{address}"
        if self.is_secure:
            options = {"connection_verify": self.ca} | options
        if credential is not None:
            host = urlsplit(self.settings["Endpoint"]).netloc
            return of(host, credential, use_tls=self.is_secure, **options)
        return of.from_connection_string(self._text(key, self.is_secure), **options)

    def admin(self, key=None):
        """A client of the management API."""
        address = urlsplit(self.management or self.settings["ManagementEndpoint"])
        # The port is kept where the connection string says that this is an emulator.
        text = self._text(key, secure=False, endpoint=f"sb://{address.netloc}")
        if address.scheme == "https":
            return ServiceBusAdministrationClient.from_connection_string(text, connection_verify=self.ca)
        return ServiceBusAdministrationClient.from_connection_string(text, transport=PlainHttp())

    def _text(self, key, secure, endpoint=None):
        settings = self.settings
        if key is not None:
            settings["SharedAccessKey"] = key
        if endpoint is not None:
            settings["Endpoint"] = endpoint
        if secure:
            del settings["UseDevelopmentEmulator"]
        elif self.through is not None and endpoint is None:
            settings["Endpoint"] = f"sb://{urlsplit(self.through).netloc}"
        return ";".join(f"{name}={value}" for name, value in settings.items())

    @contextlib.contextmanager
    def topic(self, *subscriptions, of_topic=None, **of_subscriptions):
        """A topic with these subscriptions (one named `s` where none is named), deleted at the end."""
        name = f"py-{uuid.uuid4().hex}"
        of_subscriptions = {"lock_duration": LOCK} | of_subscriptions
        with self.admin() as admin:
            admin.create_topic(name, **(of_topic or {}))
            try:
                for subscription in subscriptions or ("s",):
                    admin.create_subscription(name, subscription, **of_subscriptions)
                yield name
            finally:
                admin.delete_topic(name)

    def publish(self, topic, *messages):
        """Sends each message by itself; text and bytes become messages."""
        with self.client() as client, client.get_topic_sender(topic) as sender:
            for message in messages:
                is_body = isinstance(message, (str, bytes))
                sender.send_messages(ServiceBusMessage(message) if is_body else message)


def receive(receiver, count, patience=PATIENCE):
    """Exactly so many messages, in the order they came."""
    messages = []
    deadline = time.monotonic() + patience
    while len(messages) < count:
        left = deadline - time.monotonic()
        assert left > 0, f"{len(messages)} of {count} messages came in {patience} s"
        messages += receiver.receive_messages(max_message_count=count - len(messages), max_wait_time=left)
    return messages


def receive_one(receiver, patience=PATIENCE):
    return receive(receiver, 1, patience)[0]


def assert_silent(receiver):
    messages = receiver.receive_messages(max_message_count=1, max_wait_time=SILENCE)
    assert not messages, f"came unexpectedly: {messages}"


def until(holds, patience=PATIENCE):
    """Asks until the answer is yes; for what nothing tells of."""
    deadline = time.monotonic() + patience
    while not (answer := holds()):
        assert time.monotonic() < deadline, f"not within {patience} s"
        time.sleep(0.05)
    return answer


def body(message):
    """The bytes of a message whose body is data."""
    return b"".join(message.body)


def bodies(messages):
    return [body(message) for message in messages]


@contextlib.contextmanager
def raises(*kinds, saying=None):
    """Like a test framework's; yields a list that holds the error afterwards."""
    caught = []
    try:
        yield caught
    except kinds as error:
        assert saying is None or saying in str(error), f"{error!r} does not say {saying!r}"
        caught.append(error)
    else:
        raise AssertionError(f"nothing was raised, where {' or '.join(kind.__name__ for kind in kinds)} was due")
