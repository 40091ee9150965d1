//! Whether the audit trail is as it was written, from the store's own bytes.

use super::context::Context;
use crate::store::chain::{Head, NO_LINK, link_to, split};
use crate::store::codec::{Record, RecordId, key};
use crate::store::{Entry, Revision, StoreError};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainReport {
    /// How many entries were read.
    pub entries: u64,
    /// The first thing that is wrong, if anything is.
    pub first_broken: Option<BrokenLink>,
}

/// A place where the chain does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokenLink {
    /// The entry at which it shows.
    pub revision: Revision,
    /// What is wrong.
    pub what: String,
}

/// Reads all entries and follows the links. Blocks while it reads.
///
/// # Errors
/// When the store can't be read at all.
pub fn verify_audit(ctx: &Context) -> Result<ChainReport, StoreError> {
    let first = Walk::over(ctx)?;
    if first.behind == 0 {
        return Ok(first.end(None));
    }
    // Entries that came while this read stand behind the head, which is read
    // first of all. It moves with them; behind one that stays was put in.
    let stands = first.head;
    Ok(Walk::over(ctx)?.end(stands))
}

#[derive(Default)]
struct Walk {
    /// The end of the trail, as the store tells it.
    head: Option<Head>,
    /// The last entry up to there.
    at_head: Option<Head>,
    /// The newest entry behind it; 0 if there is none.
    behind: Revision,
    /// The entry before the one that comes next.
    last: Option<Head>,
    entries: u64,
    broken: Option<BrokenLink>,
}

impl Walk {
    fn over(ctx: &Context) -> Result<Walk, StoreError> {
        let mut walk = Walk::default();
        ctx.store.scan(&key::audit_prefix(), &mut |entry| walk.step(&entry))?;
        Ok(walk)
    }

    fn step(&mut self, entry: &Entry) {
        match RecordId::decode(&entry.key) {
            Ok(RecordId::AuditHead) => self.head = Head::decode(&entry.value),
            Ok(RecordId::Audit(revision)) => {
                self.entries += 1;
                let fault = self.judge(revision, entry);
                self.note(revision, fault);
                let last = Head { revision, link: link_to(&entry.key, &entry.value) };
                match self.head {
                    Some(head) if revision > head.revision => self.behind = revision,
                    _ => self.at_head = Some(last),
                }
                self.last = Some(last);
            }
            _ => self.note(entry.revision, Some("its key is none of an audit entry".to_owned())),
        }
    }

    fn judge(&self, revision: Revision, entry: &Entry) -> Option<String> {
        if entry.revision != revision {
            let by = entry.revision;
            return Some(format!("the entry was overwritten by change {by}"));
        }
        if let Err(error) = Record::decode(entry) {
            return Some(format!("the entry can't be read: {}", error.what));
        }
        let (before, expected) = match self.last {
            None => ("the beginning of the trail".to_owned(), NO_LINK),
            Some(before) => (format!("entry {}", before.revision), before.link),
        };
        let (_, link) = split(&entry.value)?;
        (*link != expected).then(|| {
            format!(
                "its link does not lead to {before}: that one was changed, or an entry between \
                 them was removed, or one was put in or moved"
            )
        })
    }

    fn note(&mut self, revision: Revision, fault: Option<String>) {
        if let (None, Some(what)) = (&self.broken, fault) {
            self.broken = Some(BrokenLink { revision, what });
        }
    }

    /// Ends the walk. `stood` is the head that an earlier walk found, if that
    /// one found entries behind it.
    fn end(mut self, stood: Option<Head>) -> ChainReport {
        if self.head != self.at_head {
            let last = self.at_head.map_or(0, |last| last.revision);
            let (revision, what) = match self.head.map(|head| head.revision) {
                None => (last, "the record of the trail's end is missing or can't be read"),
                Some(end) if end > last => (end, "the newest entry is missing"),
                Some(end) => (end, "the newest entry is not what the trail's end says it was"),
            };
            self.note(revision, Some(what.to_owned()));
        }
        if self.behind > 0 && stood.is_some() && stood == self.head {
            let what = "an entry was put in behind the trail's end";
            self.note(self.behind, Some(what.to_owned()));
        }
        ChainReport { entries: self.entries, first_broken: self.broken }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::testing::TestWorld;
    use crate::store::{Change, Key, Op, Store};

    async fn world() -> (TestWorld, Vec<Entry>) {
        let world = TestWorld::new();
        for name in ["a", "b", "c", "d"] {
            world.credential(name).await;
        }
        let mut entries = Vec::new();
        world.store.scan(&key::audit_prefix(), &mut |entry| entries.push(entry)).unwrap();
        (world, entries)
    }

    async fn commit(world: &TestWorld, op: Op) -> u64 {
        world.store.commit(Change { guards: vec![], ops: vec![op] }).await.unwrap().revision
    }

    fn broken(world: &TestWorld) -> (Revision, String) {
        let report = verify_audit(&world.ctx).unwrap();
        report.first_broken.map(|it| (it.revision, it.what)).unwrap()
    }

    #[tokio::test]
    async fn a_whole_trail_is_whole() {
        let (world, _) = world().await;
        let whole = |entries| ChainReport { entries, first_broken: None };
        assert_eq!(verify_audit(&world.ctx).unwrap(), whole(4));
        world.credential("e").await;
        assert_eq!(verify_audit(&TestWorld::over(world.store).ctx).unwrap(), whole(5));
        assert_eq!(verify_audit(&TestWorld::new().ctx).unwrap(), whole(0));
    }

    /// As somebody would who can write the files, revisions and all.
    #[tokio::test]
    async fn every_change_of_bytes_is_found() {
        let (world, entries) = world().await;
        let revisions: Vec<_> = entries.iter().map(|entry| entry.revision).collect();
        assert_eq!(revisions, [4, 1, 2, 3, 4], "the head comes first");
        for (place, entry) in entries.iter().enumerate() {
            for byte in 0..entry.value.len() {
                let mut value = entry.value.clone();
                value[byte] ^= 1;
                world.store.forge(Entry { value, ..entry.clone() });
                let (at, what) = broken(&world);
                let near = [entry.revision, entry.revision + 1];
                assert!(place == 0 || near.contains(&at), "{place} {byte}: {at} {what}");
            }
            world.store.forge(entry.clone());
        }
        assert_eq!(verify_audit(&world.ctx).unwrap().first_broken, None);
    }

    #[tokio::test]
    async fn what_is_removed_moved_or_put_in_is_found() {
        for (place, found) in [(1, 2), (2, 3), (3, 4), (4, 4)] {
            let (world, entries) = world().await;
            commit(&world, Op::Delete { key: entries[place].key.clone() }).await;
            assert_eq!(broken(&world).0, found, "{place} removed");
        }
        let (world, entries) = world().await;
        commit(&world, Op::Delete { key: Key(b"x/".to_vec()) }).await;
        assert!(broken(&world).1.contains("end is missing"));
        world.store.forge(entries[0].clone());
        // Two entries in each other's place.
        let at = |key: usize, value: usize| Entry {
            key: entries[key].key.clone(),
            value: entries[value].value.clone(),
            revision: entries[key].revision,
        };
        world.store.forge(at(2, 3));
        world.store.forge(at(3, 2));
        assert_eq!(broken(&world).0, 2);
        // Written through the store: the entry itself is named.
        let (world, entries) = self::world().await;
        let Entry { key, value, .. } = entries[2].clone();
        commit(&world, Op::Put { key, value }).await;
        assert_eq!(broken(&world), (2, "the entry was overwritten by change 5".to_owned()));
        // Put in at the end, with a good link.
        let (world, entries) = self::world().await;
        let mut value = split(&entries[4].value).unwrap().0.to_vec();
        value.extend_from_slice(&link_to(&entries[4].key, &entries[4].value));
        let behind = commit(&world, Op::Put { key: key::audit(5), value }).await;
        assert!(broken(&world).1.contains("put in behind"), "{behind}");
        world.credential("e").await;
        assert_eq!(broken(&world).0, 6);
    }
}
