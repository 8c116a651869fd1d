//! What the client says, as what failed.

use fe2o3_amqp::{
    connection::{ConnectionStopReason, OpenError},
    link::{
        DispositionError, IllegalLinkStateError, LinkStateError, MessageSizeExceeded, ReceiverAttachError,
        RecvError, SendError, SenderAttachError, SessionStopReason,
    },
    session::BeginError,
    transport::Error as TransportError,
    types::{
        definitions::{self, ErrorCondition},
        messaging::Outcome,
        primitives::Symbol,
    },
};
use fe2o3_amqp_management::error::{AttachError, Error as ManagementError};

use crate::{error::Failure, wire::Answer};

pub(super) fn answer(outcome: Outcome) -> Answer {
    Answer::Refused(match outcome {
        Outcome::Accepted(_) => return Answer::Accepted,
        Outcome::Rejected(rejected) => match rejected.error {
            Some(error) => of_amqp(&error),
            None => refused("rejected", "the service rejected a message without saying why"),
        },
        Outcome::Released(_) | Outcome::Modified(_) => refused("released", "the service gave a message back"),
    })
}

pub(super) fn refused(condition: &str, description: &str) -> Failure {
    Failure::Amqp { condition: condition.into(), description: description.into() }
}

/// What the service says, in its own words.
pub(super) fn of_amqp(error: &definitions::Error) -> Failure {
    let condition = match &error.condition {
        ErrorCondition::AmqpError(condition) => Symbol::from(condition),
        ErrorCondition::ConnectionError(condition) => Symbol::from(condition),
        ErrorCondition::SessionError(condition) => Symbol::from(condition),
        ErrorCondition::LinkError(condition) => Symbol::from(condition),
        ErrorCondition::Custom(condition) => condition.clone(),
    };
    let condition = condition.0;
    Failure::Amqp { condition, description: error.description.clone().unwrap_or_default() }
}

pub(super) fn of_open(error: OpenError) -> Failure {
    match error {
        OpenError::Io(error) => Failure::Io(error),
        OpenError::RemoteClosedWithError(error) => of_amqp(&error),
        OpenError::TransportError(TransportError::Io(error)) => Failure::Io(error),
        OpenError::RemoteClosed
        | OpenError::IllegalState
        | OpenError::TransportError(TransportError::IdleTimeoutElapsed) => Failure::Closed,
        error => Failure::Foreign(format!("an AMQP connection cannot be opened: {error}")),
    }
}

pub(super) fn of_begin(error: BeginError) -> Failure {
    match error {
        BeginError::RemoteEndedWithError(error) => of_amqp(&error),
        BeginError::ConnectionStopped(reason) => of_connection_stop(&reason),
        _ => Failure::Closed,
    }
}

pub(super) fn of_connection_stop(reason: &ConnectionStopReason) -> Failure {
    match reason {
        ConnectionStopReason::RemoteClosedWithError(error) => of_amqp(error),
        _ => Failure::Closed,
    }
}

pub(super) fn of_session_stop(reason: &SessionStopReason) -> Failure {
    match reason {
        SessionStopReason::RemoteEndedWithError(error) => of_amqp(error),
        SessionStopReason::ConnectionStopped(reason) => of_connection_stop(reason),
        _ => Failure::Closed,
    }
}

pub(super) fn of_sender_attach(error: SenderAttachError) -> Failure {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => of_amqp(&error),
        SenderAttachError::SessionStopped(reason) => of_session_stop(&reason),
        // It ended while it was attached, which the client tells in many ways.
        SenderAttachError::SessionNotMapped
        | SenderAttachError::IllegalState
        | SenderAttachError::NonAttachFrameReceived
        | SenderAttachError::ExpectImmediateDetach
        | SenderAttachError::IncomingTargetIsNone => Failure::Closed,
        error => Failure::Foreign(format!("a link to send cannot be attached: {error}")),
    }
}

pub(super) fn of_receiver_attach(error: ReceiverAttachError) -> Failure {
    match error {
        ReceiverAttachError::RemoteClosedWithError(error) => of_amqp(&error),
        ReceiverAttachError::SessionStopped(reason) => of_session_stop(&reason),
        ReceiverAttachError::SessionNotMapped
        | ReceiverAttachError::IllegalState
        | ReceiverAttachError::NonAttachFrameReceived
        | ReceiverAttachError::ExpectImmediateDetach
        | ReceiverAttachError::IncomingSourceIsNone => Failure::Closed,
        error => Failure::Foreign(format!("a link to receive cannot be attached: {error}")),
    }
}

pub(super) fn of_attach(error: AttachError) -> Failure {
    match error {
        AttachError::Sender(error) => of_sender_attach(error),
        AttachError::Receiver(error) => of_receiver_attach(error),
    }
}

pub(super) fn of_link(error: LinkStateError) -> Failure {
    match error {
        LinkStateError::RemoteDetachedWithError(error) | LinkStateError::RemoteClosedWithError(error) => {
            of_amqp(&error)
        }
        LinkStateError::SessionStopped(reason) => of_session_stop(&reason),
        _ => Failure::Closed,
    }
}

pub(super) fn of_send(error: SendError) -> Failure {
    match error {
        SendError::LinkStateError(error) => of_link(error),
        SendError::Detached(error) => of_link(error.into()),
        error => Failure::Foreign(format!("a message cannot be sent: {error}")),
    }
}

pub(super) fn of_receive(error: RecvError) -> Failure {
    match error {
        RecvError::LinkStateError(error) => of_link(error),
        error => Failure::Foreign(format!("what comes on a link is no message: {error}")),
    }
}

pub(super) fn of_illegal_state(error: IllegalLinkStateError) -> Failure {
    of_link(error.into())
}

pub(super) fn of_disposition(error: DispositionError) -> Failure {
    match error {
        DispositionError::SessionStopped(reason) => of_session_stop(&reason),
        _ => Failure::Closed,
    }
}

/// Of a put-token request, whose answer has a status as one by HTTP has.
pub(super) fn of_management(error: ManagementError) -> Failure {
    match error {
        ManagementError::Status(status) => {
            let said = status.description.unwrap_or_default();
            match status.code.0.get() {
                401 | 403 => Failure::Unauthorized(said),
                404 => Failure::NotFound(said),
                code => Failure::Http { status: code, sub_code: None, detail: said },
            }
        }
        ManagementError::Send(error) => of_send(error),
        ManagementError::Recv(error) => of_receive(error),
        ManagementError::Disposition(error) => of_disposition(error),
        error => Failure::Foreign(format!("a token was not answered as it should be: {error}")),
    }
}

pub(super) fn too_large(size: &MessageSizeExceeded) -> Failure {
    let bytes = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
    Failure::TooLarge { actual: bytes(size.size), limit: bytes(size.max_size) }
}
