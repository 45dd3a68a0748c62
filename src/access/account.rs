//! Who pays for a request.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use super::{Exceeded, Gate, Standing};

/// The one who is charged for what a request holds.
#[derive(Clone)]
pub struct Account {
    gate: Arc<Gate>,
    name: Option<Arc<str>>,
    address: IpAddr,
}

impl Account {
    /// Of a caller, by the name from [`Gate::admit`] or else by address.
    pub fn new(gate: &Arc<Gate>, name: Option<Arc<str>>, address: IpAddr) -> Self {
        Self {
            gate: Arc::clone(gate),
            name,
            address,
        }
    }

    /// Charges for `pictures` at once: all of them or none.
    ///
    /// # Errors
    /// If that is more than is left.
    pub fn charge(&self, pictures: NonZeroU32) -> Result<Option<Standing>, Exceeded> {
        self.gate
            .charge(self.name.as_deref(), self.address, pictures)
    }

    /// Charges for the pictures of a request that holds `pictures`, of which the first is paid for.
    ///
    /// # Errors
    /// As [`Account::charge`]. What is told then concerns the whole request.
    pub fn charge_further(&self, pictures: usize) -> Result<Option<Standing>, Exceeded> {
        let further = u32::try_from(pictures.saturating_sub(1)).unwrap_or(u32::MAX);
        let Some(further) = NonZeroU32::new(further) else {
            return Ok(None);
        };
        self.charge(further).map_err(|exceeded| Exceeded {
            pictures: further.saturating_add(1),
            retry_after: exceeded
                .retry_after
                .filter(|_| further < exceeded.standing.limit),
            ..exceeded
        })
    }
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
