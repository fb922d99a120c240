//! One request of Kafka's protocol, by hand: which brokers are there? A broker that only listens is not among them yet;
//! it is listed once it has joined its cluster, and then it serves clients.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long the request may take.
const LONGEST: Duration = Duration::from_secs(2);

/// Longest reply that is believed: one broker is less than 100 bytes, and no topics are asked for.
const REPLY_MAX: u32 = 1 << 16;

/// `Metadata`, in the last version before the fields became flexible, for no topics.
#[rustfmt::skip]
const REQUEST: &[u8] = &[
    0, 0, 0, 20,      // length of what follows
    0, 3,             // Metadata
    0, 4,             // version
    0, 0, 0, 1,       // correlation id
    0, 5, b'x', b't', b'a', b's', b'k',
    0, 0, 0, 0,       // no topics
    0,                // and do not create them
];

/// Asks the broker on this port of the loopback for the ports of all brokers.
pub(super) fn brokers(port: u16) -> io::Result<Vec<u16>> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), LONGEST)?;
    stream.set_read_timeout(Some(LONGEST))?;
    stream.set_write_timeout(Some(LONGEST))?;
    stream.write_all(REQUEST)?;
    let length = int(&mut stream)?;
    if length > REPLY_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut reply = Vec::new();
    stream.take(length.into()).read_to_end(&mut reply)?;
    ports(&reply)
}

fn ports(mut reply: &[u8]) -> io::Result<Vec<u16>> {
    let _correlation = int(&mut reply)?;
    let _throttle = int(&mut reply)?;
    let count = int(&mut reply)?;
    (0..count)
        .map(|_| {
            let _id = int(&mut reply)?;
            skip_text(&mut reply)?;
            let port = int(&mut reply)?;
            skip_text(&mut reply)?;
            u16::try_from(port).map_err(|_| io::ErrorKind::InvalidData.into())
        })
        .collect()
}

fn int(from: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    from.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

/// Steps over a string, whose length is -1 where there is none.
fn skip_text(from: &mut &[u8]) -> io::Result<()> {
    let mut bytes = [0; 2];
    from.read_exact(&mut bytes)?;
    let length = usize::try_from(i16::from_be_bytes(bytes)).unwrap_or(0);
    *from = from.get(length..).ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_gives_the_ports_of_its_brokers() {
        let reply = [
            &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2][..],
            &[0, 0, 0, 1, 0, 1, b'a', 0, 0, 0x1d, 0x44, 0xff, 0xff],
            &[0, 0, 0, 2, 0, 1, b'b', 0, 0, 0x1d, 0x45, 0, 1, b'r'],
        ]
        .concat();
        assert_eq!(ports(&reply).unwrap(), [7492, 7493]);
        assert!(ports(&reply[..reply.len() - 1]).is_err());
        assert_eq!(REQUEST.len(), 24);
    }
}
