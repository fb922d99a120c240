//! The even share: which shards an engine should take, and which it should give up. Pure; asked at every heartbeat.

use amends_core::Shard;
use uuid::Uuid;

use crate::store::Cluster;

/// What one engine should do now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// To take: free ones up to the share, and its own that no lane of it holds.
    pub(super) claim: Vec<Shard>,
    /// To hand over: those beyond the share.
    pub(super) release: Vec<Shard>,
}

/// Every engine comes to the same shares by itself: the living in the order of their incarnations, the first ones with
/// one shard more where they do not divide. `held` says which shards a lane of this engine holds.
pub(super) fn plan(cluster: &Cluster, me: Uuid, held: impl Fn(Shard) -> bool) -> Plan {
    let engines = cluster.engines.len().max(1);
    let place = cluster.engines.iter().position(|engine| engine.incarnation == me).unwrap_or(0);
    let share = cluster.shards.len() / engines + usize::from(place < cluster.shards.len() % engines);
    let mut kept = Vec::new();
    let mut claim = Vec::new();
    let mut free = Vec::new();
    for row in &cluster.shards {
        match &row.owner {
            Some(owner) if owner.incarnation == me && held(row.shard) => kept.push(row.shard),
            Some(owner) if owner.incarnation == me => claim.push(row.shard),
            _ if row.free => free.push(row.shard),
            _ => {}
        }
    }
    let release = kept.split_off(kept.len().min(share.saturating_sub(claim.len())));
    // Each begins elsewhere, so that engines that start together do not all reach for the same ones.
    let count = free.len();
    free.rotate_left((place * (count / engines) + place.min(count % engines)).min(count));
    let wanted = share.saturating_sub(kept.len() + claim.len());
    claim.extend(free.into_iter().take(wanted));
    Plan { claim, release }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use amends_core::{Epoch, Timestamp};

    use super::*;
    use crate::store::{Owner, ShardRow};

    fn engine(number: u128) -> Owner {
        Owner { incarnation: Uuid::from_u128(number), address: format!("10.0.0.{number}:7400") }
    }

    fn cluster(engines: &[u128], owners: &[Option<u128>]) -> Cluster {
        let shards = owners.iter().enumerate().map(|(shard, owner)| ShardRow {
            shard: Shard(shard as u16),
            owner: owner.map(engine),
            lease_until: Timestamp(0),
            free: owner.is_none_or(|owner| !engines.contains(&owner)),
            halted: None,
            epoch: Epoch(1),
            journal_head: 0,
            published_head: 0,
            reply_cursor: 0,
        });
        Cluster { engines: engines.iter().copied().map(engine).collect(), shards: shards.collect() }
    }

    fn of(cluster: &Cluster, me: u128) -> Plan {
        plan(cluster, Uuid::from_u128(me), |_| true)
    }

    /// Lets all engines act on what they see until nobody wants anything.
    fn settle(engines: &[u128], owners: &mut [Option<u128>]) -> Vec<usize> {
        for _ in 0..10 {
            let seen = cluster(engines, owners);
            let before = owners.to_vec();
            for me in engines {
                let plan = of(&seen, *me);
                for shard in plan.release {
                    owners[usize::from(shard.0)] = None;
                }
                for shard in plan.claim {
                    let owner = &mut owners[usize::from(shard.0)];
                    // The database lets the first one have it.
                    if owner.is_none_or(|owner| !engines.contains(&owner)) {
                        *owner = Some(*me);
                    }
                }
            }
            if before == owners {
                return engines.iter().map(|me| owners.iter().filter(|owner| **owner == Some(*me)).count()).collect();
            }
        }
        panic!("the engines never come to rest: {owners:?}");
    }

    #[test]
    fn engines_that_come_and_go_end_with_even_shares() {
        let mut owners = vec![None; 16];
        assert_eq!(settle(&[1], &mut owners), [16]);
        assert_eq!(settle(&[1, 2], &mut owners), [8, 8]);
        assert_eq!(settle(&[1, 2, 3], &mut owners), [6, 5, 5]);
        // Engine 1 is gone without a word; its leases have expired.
        assert_eq!(settle(&[2, 3], &mut owners), [8, 8]);
        assert_eq!(settle(&[3], &mut owners), [16]);
        let many: Vec<u128> = (1..=20).collect();
        let shares = settle(&many, &mut owners);
        assert_eq!((shares.iter().sum::<usize>(), shares.iter().max()), (16, Some(&1)));
    }

    #[test]
    fn a_share_that_is_even_stays_as_it_is() {
        let rest = cluster(&[1, 2], &[Some(1), Some(2), Some(2), Some(1)]);
        assert_eq!(of(&rest, 1), Plan::default());
        assert_eq!(of(&rest, 2), Plan::default());
    }

    #[test]
    fn what_is_stored_as_ones_own_and_not_held_is_claimed_anew() {
        let known = cluster(&[1], &[Some(1), Some(1)]);
        let plan = plan(&known, Uuid::from_u128(1), |shard| shard == Shard(0));
        assert_eq!(plan, Plan { claim: vec![Shard(1)], release: Vec::new() });
    }

    #[test]
    fn engines_that_start_together_reach_for_different_shards() {
        let fresh = cluster(&[1, 2, 3], &[None; 16]);
        let wanted: Vec<_> = [1, 2, 3].iter().flat_map(|me| of(&fresh, *me).claim).collect();
        assert_eq!(wanted.len(), wanted.iter().collect::<BTreeSet<_>>().len(), "{wanted:?}");
    }
}
