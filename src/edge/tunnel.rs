//! Where a WebSocket tunnel stands: the gateway's close frame (RFC 6455 section
//! 5.5.1) must not land in the middle of another.
//!
//! Only lengths are read, of what was really written to the client. Payload is
//! neither kept nor looked at, and nothing is changed.

use http::header;
use pingora::http::ResponseHeader;
use pingora::proxy::Session;

const HEAD_END: &[u8; 4] = b"\r\n\r\n";

/// RFC 6455 section 7.4.1.
pub(crate) const GOING_AWAY: u16 = 1001;
pub(crate) const POLICY_VIOLATION: u16 = 1008;

/// What went to the client since the 101 began.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tunnel {
    /// How much of the head's end has come; all of it once there are frames.
    head_end: u8,
    /// Bytes of this frame's head that have come, and that there are.
    have: u8,
    need: u8,
    /// Of these, bytes of an extended length.
    extended: u8,
    is_close: bool,
    length: u64,
    /// Payload that is still to come.
    left: u64,
    /// The upstream has said goodbye by itself.
    closed: bool,
}

impl Tunnel {
    /// One where the head went another way.
    pub(crate) fn after_head() -> Self {
        Tunnel { head_end: HEAD_END.len() as u8, ..Tunnel::default() }
    }

    /// Follows what was written.
    pub(crate) fn wrote(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            if usize::from(self.head_end) < HEAD_END.len() {
                self.head_byte(*byte);
                bytes = rest;
            } else if self.left > 0 {
                let skip = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= skip as u64;
                bytes = bytes.get(skip..).unwrap_or_default();
                self.closed |= self.left == 0 && self.is_close;
            } else {
                self.frame_byte(*byte);
                bytes = rest;
            }
        }
    }

    fn head_byte(&mut self, byte: u8) {
        self.head_end = match (HEAD_END.get(usize::from(self.head_end)), byte) {
            (Some(wanted), byte) if *wanted == byte => self.head_end + 1,
            (_, b'\r') => 1,
            _ => 0,
        };
    }

    /// RFC 6455 section 5.2.
    fn frame_byte(&mut self, byte: u8) {
        match self.have {
            0 => {
                self.is_close = byte & 0x0f == 8;
                self.need = 2;
            }
            1 => {
                let short = byte & 0x7f;
                self.extended = match short {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                };
                // A server does not mask; of one that does the lengths count all the same.
                self.need = 2 + self.extended + if byte & 0x80 == 0 { 0 } else { 4 };
                self.length = if self.extended == 0 { u64::from(short) } else { 0 };
            }
            at if at < 2 + self.extended => self.length = self.length << 8 | u64::from(byte),
            _ => {}
        }
        self.have += 1;
        if self.have >= self.need {
            (self.have, self.left) = (0, self.length);
            self.closed |= self.left == 0 && self.is_close;
        }
    }

    /// A close frame, if one may be written now.
    pub(crate) fn close_frame(&self, code: u16, why: &str) -> Option<Vec<u8>> {
        let between = usize::from(self.head_end) == HEAD_END.len() && self.have == 0;
        if !between || self.left > 0 || self.closed {
            return None;
        }
        let why = why.as_bytes().get(..why.len().min(123))?;
        let length = u8::try_from(why.len() + 2).ok()?;
        Some([&[0x88, length][..], &code.to_be_bytes(), why].concat())
    }
}

/// Whether a request is one for a WebSocket: no other upgrade is passed on.
pub(super) fn asks_for_tunnel(session: &Session) -> bool {
    let protocol = session.req_header().headers.get(header::UPGRADE);
    session.is_upgrade_req()
        && protocol.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Whether a 101 switches to what was asked for, and to nothing else.
pub(super) fn grants_tunnel(response: &ResponseHeader) -> bool {
    let mut protocols = response.headers.get_all(header::UPGRADE).iter();
    let protocol = protocols.next().map(http::HeaderValue::as_bytes);
    protocol.is_some_and(|name| name.eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    /// A frame as a server sends it, or masked as it should not.
    fn frame(opcode: u8, length: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match length {
            0..=125 => frame.push(mask | length as u8),
            126..=0xffff => {
                frame.push(mask | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend(if masked { &[1, 2, 3, 4][..] } else { &[] });
        frame.extend(std::iter::repeat_n(0x88, length));
        frame
    }

    fn may_close(tunnel: &Tunnel) -> bool {
        tunnel.close_frame(POLICY_VIOLATION, "revoked").is_some()
    }

    #[test]
    fn there_is_a_place_for_it_only_between_frames() {
        let mut tunnel = Tunnel::default();
        assert!(!may_close(&tunnel), "in the head there is none");
        tunnel.wrote(HEAD);
        assert!(may_close(&tunnel));
        for length in [0, 1, 125, 126, 65_535, 65_536, 70_000] {
            let frame = frame(2, length, false);
            let (last, most) = frame.split_last().unwrap();
            tunnel.wrote(most);
            assert!(!may_close(&tunnel), "{length}");
            tunnel.wrote(&[*last]);
            assert!(may_close(&tunnel), "{length}");
        }
    }

    #[test]
    fn where_there_is_no_head_frames_begin_at_once() {
        let mut tunnel = Tunnel::after_head();
        assert!(may_close(&tunnel));
        tunnel.wrote(&[0x82, 1]);
        assert!(!may_close(&tunnel));
        tunnel.wrote(b"x");
        assert!(may_close(&tunnel));
    }

    #[test]
    fn what_it_looks_like() {
        let mut tunnel = Tunnel::default();
        tunnel.wrote(HEAD);
        let frame = tunnel.close_frame(POLICY_VIOLATION, "revoked").unwrap();
        assert_eq!(frame, b"\x88\x09\x03\xf0revoked");
        let long = tunnel.close_frame(GOING_AWAY, &"x".repeat(500)).unwrap();
        assert_eq!((long.len(), long[1]), (127, 125));
    }

    #[test]
    fn nobody_says_goodbye_twice() {
        for length in [0, 2, 9] {
            let mut tunnel = Tunnel::default();
            tunnel.wrote(HEAD);
            tunnel.wrote(&frame(8, length, false));
            assert!(!may_close(&tunnel));
        }
    }

    #[test]
    fn the_head_ends_where_it_ends() {
        for head in ["A\r\r\n\r\n", "A\r\n\r\r\n\r\n", "\r\n\r\n", "A\r\nB\r\n\r\n"] {
            let mut tunnel = Tunnel::default();
            let (last, most) = head.as_bytes().split_last().unwrap();
            tunnel.wrote(most);
            assert!(!may_close(&tunnel), "{head:?}");
            tunnel.wrote(&[*last]);
            assert!(may_close(&tunnel), "{head:?}");
        }
    }

    proptest! {
        /// However the bytes are cut into writes, only the ends of frames count.
        #[test]
        fn any_split_is_the_same(
            frames in prop::collection::vec((0u8..8, 0usize..70_000, any::<bool>()), 0..6),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        ) {
            let mut all = HEAD.to_vec();
            let mut ends = vec![all.len()];
            for (opcode, length, masked) in frames {
                all.extend(frame(opcode, length, masked));
                ends.push(all.len());
            }
            let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(all.len() + 1)).collect();
            places.extend(&ends);
            places.sort_unstable();
            let (mut tunnel, mut from) = (Tunnel::default(), 0);
            for place in places {
                tunnel.wrote(&all[from..place]);
                from = place;
                prop_assert_eq!(may_close(&tunnel), ends.contains(&place), "at {}", place);
            }
        }

        #[test]
        fn garbage_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut tunnel = Tunnel::default();
            tunnel.wrote(HEAD);
            tunnel.wrote(&bytes);
            let mut other = Tunnel::default();
            other.wrote(HEAD);
            for byte in &bytes {
                other.wrote(&[*byte]);
            }
            prop_assert_eq!(may_close(&tunnel), may_close(&other));
        }
    }
}
