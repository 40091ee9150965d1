//! Revoked tokens that may go in the same hour, many to a value: a start reads a pack
//! of 128 at once instead of 128 JSON texts. Nothing is lost by packing: who, when,
//! why and in which commit stand in it for each.

use super::parts::{Fault, VERSION, time};
use super::{RecordId, RevokedToken, key};
use crate::domain::{ClientId, Jti, UnixTime};
use crate::store::{Entry, MAX_ENTRY_BYTES, Op, Revision};

/// The most tokens in one value.
pub const MOST_PACKED: usize = 128;

/// Count, first commit, and the time that those of the tokens are counted from.
const HEAD: usize = 1 + 8 + 8;
/// Token, milliseconds into the hour, commit and time since the first ones', and the
/// places of client, name and reason in the lists behind.
const EACH: usize = 16 + 3 + 4 + 4 + 3;
const HOUR_MILLIS: i64 = 3_600_000;

/// Packed tokens, as they lie in the store; known to be whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pack {
    hour: u32,
    first: Revision,
    at: i64,
    bytes: Vec<u8>,
    clients: Vec<ClientId>,
    texts: Vec<String>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packed<'p> {
    /// The token.
    pub jti: Jti,
    /// See [`RevokedToken::expires_at`].
    pub expires_at: UnixTime,
    /// The commit that revoked it.
    pub revision: Revision,
    /// When.
    pub revoked_at: UnixTime,
    /// Whose it is, where that is known.
    pub client_id: Option<ClientId>,
    /// Who revoked it.
    pub revoked_by: &'p str,
    /// Why, where somebody said why.
    pub reason: Option<&'p str>,
}

impl Packed<'_> {
    /// As the record that it was.
    pub fn to_record(&self) -> RevokedToken {
        RevokedToken {
            jti: self.jti,
            expires_at: self.expires_at,
            client_id: self.client_id,
            revoked_by: self.revoked_by.to_owned(),
            revoked_at: self.revoked_at,
            reason: self.reason.map(str::to_owned),
        }
    }
}

/// Packs the first of `tokens`, which are of one hour and in the order of their
/// commits. Returns how many it took and what writes them; `None` if there is nothing
/// to pack.
pub fn pack(tokens: &[(Revision, RevokedToken)]) -> Option<(usize, Op)> {
    let (first, head) = tokens.first()?;
    let hour = key::hour_of(head.expires_at);
    let begin = key::begin_of(hour).as_millis();
    let (mut each, mut clients, mut texts) = (Vec::new(), Vec::new(), Vec::new());
    let mut taken = 0;
    for (revision, token) in tokens.iter().take(MOST_PACKED) {
        let into = u32::try_from(token.expires_at.as_millis() - begin).ok();
        let since = revision.checked_sub(*first).and_then(|since| u32::try_from(since).ok());
        let later = i32::try_from(token.revoked_at.as_millis() - head.revoked_at.as_millis());
        // What does not fit begins the next one.
        let (Some(into), Some(since), Ok(later)) = (into, since, later) else { break };
        if i64::from(into) >= HOUR_MILLIS {
            break;
        }
        let before = (clients.len(), texts.len());
        let client = match token.client_id {
            Some(client) => place(&mut clients, client),
            None => Some(0),
        };
        let by = place(&mut texts, token.revoked_by.as_str());
        let reason = token.reason.as_deref().map_or(Some(0), |reason| place(&mut texts, reason));
        let strings: usize = texts.iter().map(|text| 2 + text.len()).sum();
        let bytes = 1 + HEAD + 2 + (taken + 1) * EACH + clients.len() * 16 + strings;
        let (Some(client), Some(by), Some(reason)) = (client, by, reason) else { break };
        if bytes > MAX_ENTRY_BYTES - 64 {
            clients.truncate(before.0);
            texts.truncate(before.1);
            break;
        }
        each.extend_from_slice(token.jti.as_bytes());
        each.extend(into.to_be_bytes().iter().skip(1));
        each.extend_from_slice(&since.to_be_bytes());
        each.extend_from_slice(&later.to_be_bytes());
        each.extend([client, by, reason]);
        taken += 1;
    }
    if taken == 0 {
        return None;
    }
    let count = |length: usize| u8::try_from(length).unwrap_or(u8::MAX);
    let mut value = vec![VERSION, count(taken)];
    value.extend_from_slice(&first.to_be_bytes());
    value.extend_from_slice(&head.revoked_at.as_millis().to_be_bytes());
    value.extend_from_slice(&each);
    value.push(count(clients.len()));
    clients.iter().for_each(|client| value.extend_from_slice(client.as_bytes()));
    value.push(count(texts.len()));
    for text in texts {
        value.extend_from_slice(&u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
        value.extend_from_slice(text.as_bytes());
    }
    Some((taken, Op::Put { key: key::packed_tokens(hour, Some(*first)), value }))
}

/// Where something stands in a list, counted from 1; put there if it is not.
fn place<T: PartialEq>(list: &mut Vec<T>, wanted: T) -> Option<u8> {
    let found = list.iter().position(|known| *known == wanted);
    let found = found.unwrap_or_else(|| {
        list.push(wanted);
        list.len() - 1
    });
    u8::try_from(found + 1).ok()
}

impl Pack {
    pub(super) fn read(hour: u32, first: Revision, body: &[u8]) -> Result<Self, Fault> {
        let short = || Fault("it is cut short, or longer than it says".to_owned());
        let (count, rest) = body.split_first().ok_or_else(short)?;
        let (told, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (at, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
        let (each, rest) = rest.split_at_checked(usize::from(*count) * EACH).ok_or_else(short)?;
        let (count, rest) = rest.split_first().ok_or_else(short)?;
        let (ids, rest) = rest.split_at_checked(usize::from(*count) * 16).ok_or_else(short)?;
        let ids = ids.chunks_exact(16).filter_map(|id| id.try_into().ok());
        let clients = ids.map(ClientId::from_bytes).collect();
        let (count, mut rest) = rest.split_first().ok_or_else(short)?;
        let mut texts = Vec::with_capacity(usize::from(*count));
        for _ in 0..*count {
            let (length, behind) = rest.split_first_chunk::<2>().ok_or_else(short)?;
            let length = usize::from(u16::from_be_bytes(*length));
            let (text, behind) = behind.split_at_checked(length).ok_or_else(short)?;
            let text = String::from_utf8(text.to_vec());
            texts.push(text.map_err(|_| Fault("a text in it is no UTF-8".to_owned()))?);
            rest = behind;
        }
        if !rest.is_empty() || each.is_empty() || u64::from_be_bytes(*told) != first {
            return Err(short());
        }
        let at = time(i64::from_be_bytes(*at))?.as_millis();
        let pack = Pack { hour, first, at, bytes: each.to_vec(), clients, texts };
        let whole = pack.bytes.chunks_exact(EACH).all(|each| pack.one(each).is_some());
        if whole { Ok(pack) } else { Err(Fault("an entry in it can't be read".to_owned())) }
    }

    /// True if an entry is a pack and does not hold a token: without reading all of it.
    pub fn lacks(entry: &Entry, jti: Jti) -> bool {
        let packed = matches!(RecordId::decode(&entry.key), Ok(RecordId::RevokedTokens { .. }));
        let count = entry.value.get(1).map_or(0, |count| usize::from(*count));
        let each = entry.value.get(1 + HEAD..).unwrap_or_default().chunks_exact(EACH);
        packed && !each.take(count).any(|each| each.starts_with(jti.as_bytes()))
    }

    /// The hour in which they may go.
    pub fn hour(&self) -> u32 {
        self.hour
    }

    /// The first commit that revoked one of them.
    pub fn first(&self) -> Revision {
        self.first
    }

    /// All of them, in the order of their commits.
    pub fn iter(&self) -> impl Iterator<Item = Packed<'_>> {
        self.bytes.chunks_exact(EACH).filter_map(|each| self.one(each))
    }

    /// Of all of them what a start needs: the token, its end, and the commit.
    pub fn ends(&self) -> impl Iterator<Item = (Jti, UnixTime, Revision)> {
        self.bytes.chunks_exact(EACH).filter_map(|each| {
            let (jti, into, since, _) = parts(each)?;
            Some((jti, self.end(into)?, self.revision(since)?))
        })
    }

    fn end(&self, into: u32) -> Option<UnixTime> {
        let (begin, into) = (key::begin_of(self.hour).as_millis(), i64::from(into));
        (into < HOUR_MILLIS).then(|| UnixTime::from_millis(begin + into))
    }

    fn revision(&self, since: u32) -> Option<Revision> {
        self.first.checked_add(u64::from(since))
    }

    fn one(&self, each: &[u8]) -> Option<Packed<'_>> {
        let (jti, into, since, rest) = parts(each)?;
        let (later, rest) = rest.split_first_chunk::<4>()?;
        let [client, by, reason] = rest else { return None };
        let listed = |place: &u8| usize::from(*place).checked_sub(1);
        Some(Packed {
            jti,
            expires_at: self.end(into)?,
            revision: self.revision(since)?,
            revoked_at: UnixTime::from_millis(self.at + i64::from(i32::from_be_bytes(*later))),
            client_id: match listed(client) {
                Some(place) => Some(*self.clients.get(place)?),
                None => None,
            },
            revoked_by: self.texts.get(listed(by)?)?,
            reason: match listed(reason) {
                Some(place) => Some(self.texts.get(place)?),
                None => None,
            },
        })
    }
}

/// The token, its milliseconds into the hour, its commit since the first one, the rest.
fn parts(each: &[u8]) -> Option<(Jti, u32, u32, &[u8])> {
    let (jti, rest) = each.split_first_chunk::<16>()?;
    let ([a, b, c], rest) = rest.split_first_chunk::<3>()?;
    let (since, rest) = rest.split_first_chunk::<4>()?;
    let into = u32::from_be_bytes([0, *a, *b, *c]);
    Some((Jti::from_bytes(*jti), into, u32::from_be_bytes(*since), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::codec::Record;

    fn token(n: u64, hour: u32, reason: Option<&str>) -> (Revision, RevokedToken) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let begin = key::begin_of(hour).as_millis();
        let record = RevokedToken {
            jti: Jti::from_bytes(id),
            expires_at: UnixTime::from_millis(begin + (n as i64 * 7919) % HOUR_MILLIS),
            client_id: (!n.is_multiple_of(3)).then(|| ClientId::from_bytes(id)),
            revoked_by: format!("admin-{}", n % 4),
            revoked_at: UnixTime::from_millis(1_795_314_000_000 + (n as i64 % 50) * 977),
            reason: reason.map(str::to_owned),
        };
        (100 + n * 3, record)
    }

    fn read(op: Op) -> Pack {
        let Op::Put { key, value } = op else { panic!("{op:?}") };
        assert!(key.0.len() + value.len() <= MAX_ENTRY_BYTES);
        match Record::decode(&Entry { key, value, revision: 9 }).unwrap() {
            Record::RevokedTokens(pack) => pack,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_packed_comes_back_in_every_part() {
        for reason in [None, Some("leaked")] {
            let tokens: Vec<_> = (0..300).map(|n| token(n, 498_698, reason)).collect();
            let (mut rest, mut packs) = (tokens.as_slice(), 0);
            while let Some((taken, op)) = pack(rest) {
                assert_eq!(taken, rest.len().min(MOST_PACKED));
                let back: Vec<_> =
                    read(op.clone()).iter().map(|one| (one.revision, one.to_record())).collect();
                assert_eq!(back, rest[..taken]);
                let ends = back.iter().map(|(at, token)| (token.jti, token.expires_at, *at));
                assert!(read(op).ends().eq(ends));
                (rest, packs) = (&rest[taken..], packs + 1);
            }
            assert_eq!((rest.len(), packs), (0, 3));
        }
        assert!(pack(&[]).is_none());
    }

    #[test]
    fn what_does_not_fit_is_left_for_the_next_one() {
        // Each with a reason of its own: the room ends before the count.
        let mut tokens: Vec<_> = (0..200).map(|n| token(n, 7, None)).collect();
        for (n, (_, token)) in tokens.iter_mut().enumerate() {
            token.reason = Some(format!("{n} {}", "é".repeat(200)));
        }
        let (taken, op) = pack(&tokens).unwrap();
        assert!((5..MOST_PACKED).contains(&taken), "{taken}");
        assert_eq!(read(op).iter().count(), taken);
        // One far away in commits or in time begins another.
        let mut tokens: Vec<_> = (0..3).map(|n| token(n, 7, None)).collect();
        tokens[2].0 = u64::from(u32::MAX) + 1000;
        assert_eq!(pack(&tokens).unwrap().0, 2);
        tokens[1].1.revoked_at = UnixTime::from_secs(5);
        assert_eq!(pack(&tokens).unwrap().0, 1);
    }

    #[test]
    fn what_is_cut_or_altered_is_an_error() {
        let tokens: Vec<_> = (0..20).map(|n| token(n, 7, Some("r"))).collect();
        let Some((20, Op::Put { key, value })) = pack(&tokens) else { panic!() };
        let decode =
            |value: Vec<u8>| Record::decode(&Entry { key: key.clone(), value, revision: 1 });
        for length in 0..value.len() {
            assert!(decode(value[..length].to_vec()).is_err(), "{length}");
        }
        assert!(decode([value.as_slice(), b"x"].concat()).is_err());
        let mut other = value.clone();
        other[1 + HEAD + EACH - 1] = 200;
        assert!(decode(other).is_err());
    }
}
