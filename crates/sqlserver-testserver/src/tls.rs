//! Encryption: what the server offers ([`Tls`]), and a connection with or without it ([`Stream`]).

use std::{
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use rustls::{
    ServerConfig, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    version::TLS12,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::tds::{PacketType, write_packets};

/// Bytes of a packet's header.
const HEADER: usize = 8;

/// The name that TDS 8.0 has among protocols on top of TLS.
const ALPN: &[u8] = b"tds/8.0";

/// First byte of a TLS handshake, which no TDS packet begins with.
pub(crate) const HANDSHAKE: u8 = 0x16;

/// What a server offers.
#[derive(Clone)]
pub(crate) enum Tls {
    Unsupported,
    /// The client decides.
    Offered(Configs),
    /// Who does not encrypt everything is not let in.
    Required(Configs),
}

/// The two ways to encrypt.
#[derive(Clone)]
pub(crate) struct Configs {
    /// TDS 7: the handshake travels in PRELOGIN packets. TLS 1.2 alone, as with SQL Server: it is not before TDS 8 that the
    /// two sides agree on when the handshake of TLS 1.3 is over.
    in_packets: Arc<ServerConfig>,
    /// TDS 8: the handshake comes before everything else.
    strict: Arc<ServerConfig>,
}

impl Tls {
    /// Reads a certificate, with those between it and the authority, and its key.
    pub(crate) fn configs(certificates: &str, key: &str) -> io::Result<Configs> {
        let certificates = CertificateDer::pem_slice_iter(certificates.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .map_err(io::Error::other)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(io::Error::other)?;
        let config = |versions: &[&'static SupportedProtocolVersion]| {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(versions)?
                .with_no_client_auth()
                .with_single_cert(certificates.clone(), key.clone_key())
        };
        let in_packets = config(&[&TLS12]).map_err(io::Error::other)?;
        let mut strict = config(rustls::ALL_VERSIONS).map_err(io::Error::other)?;
        strict.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Configs { in_packets: Arc::new(in_packets), strict: Arc::new(strict) })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "Unsupported",
            Self::Offered(_) => "Offered",
            Self::Required(_) => "Required",
        })
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Encrypted(Box<TlsStream<Handshake>>),
    /// While it becomes one of the others.
    Gone,
}

impl Stream {
    /// Shakes hands, inside PRELOGIN packets or, as TDS 8.0 does, before everything else.
    pub(crate) async fn encrypt(tcp: TcpStream, configs: &Configs, in_packets: bool) -> io::Result<Self> {
        let config = if in_packets { &configs.in_packets } else { &configs.strict };
        let handshake =
            Handshake { tcp, in_packets, header: Vec::new(), left: 0, out: Vec::new(), sending: false };
        let mut stream = TlsAcceptor::from(Arc::clone(config)).accept(handshake).await?;
        stream.get_mut().0.in_packets = false;
        Ok(Self::Encrypted(Box::new(stream)))
    }

    /// Goes on in plain text, as clients do that encrypt the login alone.
    pub(crate) fn decrypt(self) -> Self {
        match self {
            Self::Encrypted(stream) => Self::Plain(stream.into_inner().0.tcp),
            other => other,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Encrypted(tls) => Pin::new(tls).poll_read(cx, buf),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Encrypted(tls) => Pin::new(tls).poll_write(cx, buf),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Encrypted(tls) => Pin::new(tls).poll_flush(cx),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Encrypted(tls) => Pin::new(tls).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }
}

/// What is under TLS: until the handshake is over, its bytes travel in PRELOGIN packets.
#[derive(Debug)]
pub(crate) struct Handshake {
    tcp: TcpStream,
    in_packets: bool,
    /// Of the packet that is being read, as far as it has come.
    header: Vec<u8>,
    /// Bytes that are still to come of the packet that is being read.
    left: usize,
    /// What is written and not sent yet.
    out: Vec<u8>,
    /// `out` is in packets already.
    sending: bool,
}

impl AsyncRead for Handshake {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.in_packets {
            return Pin::new(&mut this.tcp).poll_read(cx, buf);
        }
        while this.left == 0 {
            let mut bytes = [0; HEADER];
            let mut header = ReadBuf::new(&mut bytes[this.header.len()..]);
            ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut header))?;
            if header.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.header.extend_from_slice(header.filled());
            if let &[kind, _, high, low, ..] = this.header.as_slice()
                && this.header.len() == HEADER
            {
                if kind != PacketType::PreLogin as u8 {
                    return Poll::Ready(Err(io::Error::other("a handshake outside of PRELOGIN packets")));
                }
                this.left = usize::from(u16::from_be_bytes([high, low])).saturating_sub(HEADER);
                this.header.clear();
            }
        }
        let mut part = buf.take(this.left);
        ready!(Pin::new(&mut this.tcp).poll_read(cx, &mut part))?;
        let read = part.filled().len();
        // `part` is initialised as far as it is filled, and stands at the beginning of what `buf` has free.
        let filled = part.filled().to_vec();
        buf.put_slice(&filled);
        this.left -= read;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Handshake {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !this.in_packets {
            return Pin::new(&mut this.tcp).poll_write(cx, buf);
        }
        if this.sending {
            ready!(Pin::new(&mut *this).poll_flush(cx))?;
        }
        this.out.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.out.is_empty() && !this.sending {
            this.out = write_packets(PacketType::PreLogin, &this.out, 4096).to_vec();
            this.sending = true;
        }
        while !this.out.is_empty() {
            let written = ready!(Pin::new(&mut this.tcp).poll_write(cx, &this.out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            this.out.drain(..written);
        }
        this.sending = false;
        Pin::new(&mut this.tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
