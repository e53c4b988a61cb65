// SPDX-License-Identifier: GPL-2.0

//! Own: what is on the card for one owner, no other takes, and the pool neither.

mod common;

use common::{
    small,
    ByIndex,
    Parts, //
};
use mbpool_host::ground::{
    handle::{
        Handle,
        HandleError, //
    },
    own::Own,
    slots::{
        Count,
        Owner,
        Slots, //
    }, //
};

fn count(used: usize, card: usize, free: usize) -> Count {
    Count { used, card, free }
}

fn own(slots: &Slots, number: u32) -> Own<'_> {
    Own::new(slots, Owner::other(number).expect("an owner"))
}

/// Posts a free chunk, as a cache does it.
fn post(own: &Own<'_>, index: u32) -> Handle {
    own.post_free(&own.words()[index as usize], index)
}

fn refused(slots: &Slots, own: &Own<'_>, handle: Handle, error: HandleError) {
    assert_eq!(own.take(handle), None);
    assert_eq!(own.peek(handle), None);
    assert_eq!(slots.why_not(handle, own.owner()), error);
}

#[test]
fn there_are_so_many_owners() {
    assert!(Owner::other(Owner::OTHERS - 1).is_some());
    assert_eq!(Owner::other(Owner::OTHERS), None);
    assert_ne!(Owner::other(0), Some(Owner::POOL));
}

#[test]
fn what_one_owner_posted_no_other_takes() {
    let slots = Parts::full(small(1, 4, 8, 0)).slots;
    let owners = [0, 1, Owner::OTHERS - 1].map(|number| own(&slots, number));
    for own in owners {
        let handle = post(&own, 1);
        assert_eq!(slots.count(), count(0, 1, 3));
        for other in owners {
            if other.owner() != own.owner() {
                refused(&slots, &other, handle, HandleError::WrongState);
                assert!(!other.reclaim(1));
                other.make_over(1);
            }
        }
        // The pool is one of the others.
        assert_eq!(slots.fetch(handle), Err(HandleError::WrongState));
        assert_eq!(slots.look(handle), Err(HandleError::WrongState));
        assert!(!slots.reclaim(1));
        assert!(!slots.is_idle(0));

        assert_eq!(own.peek(handle), Some(1));
        assert_eq!(own.take(handle), Some(1));
        refused(&slots, &own, handle, HandleError::WrongState);
        assert_eq!(slots.count(), count(1, 0, 3));
        slots.release(1);
        assert_eq!(slots.count(), count(0, 0, 4));

        // An earlier trip for the same owner.
        let later = post(&own, 1);
        refused(&slots, &own, handle, HandleError::Stale);
        assert_eq!(own.take(later), Some(1));
        slots.release(1);
    }
}

#[test]
fn an_owner_has_nothing_of_the_pools() {
    let slots = Parts::full(small(1, 4, 8, 0)).slots;
    let own = own(&slots, 0);
    let handle = slots.post(2, Owner::POOL);
    refused(&slots, &own, handle, HandleError::WrongState);
    assert!(!own.reclaim(2));
    assert_eq!(slots.fetch(handle), Ok(2));
}

#[test]
fn an_owner_takes_back_all_of_its_own() {
    let slots = Parts::full(small(1, 4, 8, 0)).slots;
    let (one, two) = (own(&slots, 0), own(&slots, 1));
    let (handle, other) = (post(&one, 0), post(&two, 1));
    slots.claim(2);
    let reclaimed: Vec<_> = (0..4).filter(|index| one.reclaim(*index)).collect();
    assert_eq!(reclaimed, [0]);
    assert_eq!(slots.count(), count(1, 1, 2));
    refused(&slots, &one, handle, HandleError::WrongState);
    assert_eq!(two.take(other), Some(1));
}

#[test]
fn what_is_made_over_is_the_pools_under_the_same_handle() {
    let slots = Parts::full(small(1, 4, 8, 0)).slots;
    let own = own(&slots, 6);
    let handle = post(&own, 3);
    (0..4).for_each(|index| own.make_over(index));
    assert_eq!(slots.count(), count(0, 1, 3));
    refused(&slots, &own, handle, HandleError::WrongState);
    assert_eq!(slots.fetch(handle), Ok(3));
}

#[test]
fn a_free_chunk_is_posted_in_one_addition() {
    for generation in [0, 1, 3, 8] {
        let geometry = small(2, 4, generation, 2);
        let (slots, others) = (Parts::full(geometry).slots, Parts::full(geometry).slots);
        let (one, other) = (own(&slots, 41), own(&others, 41));
        // Round and round: no generation spills into what is beside it.
        for trip in 0..600 {
            let handle = post(&one, 5);
            assert_eq!(handle, other.post(&others.words()[5], 5), "trip {trip}");
            assert_eq!(handle, {
                let plain = Parts::full(geometry).slots;
                (0..trip).for_each(|_| _ = plain.post(5, Owner::POOL));
                plain.post(5, Owner::POOL)
            });
            assert_eq!(one.take(handle), Some(5));
            assert_eq!(other.take(handle), Some(5));
            slots.release(5);
            others.release(5);
            assert_eq!(slots.count(), others.count());
        }
    }
}
