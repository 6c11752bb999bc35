//! What a packet costs the master, as it was measured: the mean of the last few thousand.

use crate::config::{PACKET_COST, PACKET_COST_MAX};
use crate::ids::Nanos;

/// From so many packets on their mean is believed: less tells more of what else the machine did.
const PACKETS_MIN: u64 = 256;
/// After so many packets those before count half.
const PACKETS_HALVED: u64 = 2_048;

/// What a packet costs the master.
#[derive(Clone, Debug)]
pub(crate) struct PacketCosts {
    packets: u64,
    spent: Nanos,
    each: Nanos,
}

impl Default for PacketCosts {
    fn default() -> Self {
        PacketCosts {
            packets: 0,
            spent: 0,
            each: PACKET_COST,
        }
    }
}

impl PacketCosts {
    pub(crate) fn learn(&mut self, packets: u64, spent: Nanos) {
        self.packets += packets;
        // A turn in which the machine did something else for a second is one.
        self.spent += spent.min(packets.max(1).saturating_mul(PACKET_COST_MAX));
        if self.packets >= PACKETS_MIN {
            let each = self.spent / self.packets;
            self.each = each.clamp(PACKET_COST, PACKET_COST_MAX);
        }
        while self.packets >= PACKETS_HALVED {
            (self.packets, self.spent) = (self.packets / 2, self.spent / 2);
        }
    }

    /// The mean of a packet, its results included.
    pub(crate) fn each(&self) -> Nanos {
        self.each
    }
}
