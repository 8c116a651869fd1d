//! Free ports of the loopback interface.

use std::{
    collections::BTreeSet,
    io,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Below the ports that systems hand out to outgoing connections: a client that tries again and again to reach a server
/// that is down could otherwise be connected to itself.
const RANGE: Range<u16> = 10_000..30_000;

/// Tries until a range with that many free ports must be exhausted.
const TRIES: usize = 1000;

/// What this process holds, so that a port stays with its server while that is down.
static HELD: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that no other server of this process gets while this value lives.
#[derive(Debug)]
pub(crate) struct Port(u16);

impl Port {
    /// A port that was free a moment ago; another process may still be faster.
    pub(crate) fn free() -> io::Result<Self> {
        for _ in 0..TRIES {
            let number = fastrand::u16(RANGE);
            if !held().insert(number) {
                continue;
            }
            let port = Self(number);
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(port);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port on the loopback interface"))
    }

    /// This one, whoever has it.
    pub(crate) fn fixed(number: u16) -> Self {
        held().insert(number);
        Self(number)
    }

    pub(crate) fn number(&self) -> u16 {
        self.0
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        held().remove(&self.0);
    }
}

fn held() -> MutexGuard<'static, BTreeSet<u16>> {
    // Insertions and removals leave the set whole wherever a holder panics.
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}
