//! Doubly linked lists through the records of a table, by slot: constant time everywhere, no allocation.

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// A record's neighbours in the one list it is in. At the front `prev` means nothing: taking the front away then
/// leaves the next one untouched, which on the hot path is one cache line less.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub(crate) struct Links {
    pub(crate) prev: u32,
    pub(crate) next: u32,
}

impl Links {
    pub(crate) const NONE: Links = Links {
        prev: NONE,
        next: NONE,
    };
}

/// A table whose records can be linked.
pub(crate) trait Linked {
    fn links(&self, at: u32) -> Links;
    fn links_mut(&mut self, at: u32) -> &mut Links;
}

/// The ends of a list. It owns nothing: its records live in the table that is passed along.
#[derive(Clone, Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
    len: u32,
}

impl List {
    pub(crate) const EMPTY: List = List {
        head: NONE,
        tail: NONE,
        len: 0,
    };

    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.len
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.head == NONE
    }

    #[inline]
    pub(crate) fn front(&self) -> Option<u32> {
        (self.head != NONE).then_some(self.head)
    }

    pub(crate) fn back(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }

    #[inline]
    pub(crate) fn push_back(&mut self, table: &mut impl Linked, at: u32) {
        *table.links_mut(at) = Links {
            prev: self.tail,
            next: NONE,
        };
        match self.tail {
            NONE => self.head = at,
            tail => table.links_mut(tail).next = at,
        }
        self.tail = at;
        self.len += 1;
    }

    #[inline]
    pub(crate) fn push_front(&mut self, table: &mut impl Linked, at: u32) {
        *table.links_mut(at) = Links {
            prev: NONE,
            next: self.head,
        };
        match self.head {
            NONE => self.tail = at,
            head => table.links_mut(head).prev = at,
        }
        self.head = at;
        self.len += 1;
    }

    /// Puts one before another that is in the list.
    pub(crate) fn insert_before(&mut self, table: &mut impl Linked, at: u32, new: u32) {
        if self.head == at {
            return self.push_front(table, new);
        }
        let prev = table.links(at).prev;
        *table.links_mut(new) = Links { prev, next: at };
        table.links_mut(prev).next = new;
        table.links_mut(at).prev = new;
        self.len += 1;
    }

    /// The front has gone to do something else, and these were its links.
    #[inline]
    pub(crate) fn on_front_gone(&mut self, links: Links) {
        self.head = links.next;
        if self.head == NONE {
            self.tail = NONE;
        }
        self.len -= 1;
    }

    #[inline]
    pub(crate) fn remove(&mut self, table: &mut impl Linked, at: u32) {
        let links = table.links(at);
        if self.head == at {
            return self.on_front_gone(links);
        }
        table.links_mut(links.prev).next = links.next;
        match links.next {
            NONE => self.tail = links.prev,
            next => table.links_mut(next).prev = links.prev,
        }
        self.len -= 1;
    }

    /// From front to back, checking the links on the way; for [`sanity_check`](crate::Scheduler::sanity_check).
    pub(crate) fn checked_slots(&self, links_of: impl Fn(u32) -> Links) -> Vec<u32> {
        let mut slots = Vec::new();
        let (mut prev, mut at) = (NONE, self.head);
        while at != NONE {
            let links = links_of(at);
            assert!(
                at == self.head || links.prev == prev,
                "a list is linked both ways"
            );
            slots.push(at);
            assert!(slots.len() <= self.len as usize, "a list has no ring");
            (prev, at) = (at, links.next);
        }
        assert_eq!(
            (self.tail, self.len as usize),
            (prev, slots.len()),
            "a list knows its tail and length"
        );
        slots
    }
}
