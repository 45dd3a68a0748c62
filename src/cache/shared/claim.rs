//! Who has what in hand, where instances agree about it.

use std::time::Duration;

use redis::{Cmd, ExistenceCheck, SetExpiry, SetOptions};

use super::Shared;
use super::keys;
use super::link::{Live, READ_LIMIT};
use crate::remote::Failure;

impl Shared {
    /// Whether `thing` is in the hand of `holder` from now on, for `time`, and in nobody else's at any instance. Where
    /// Redis does not say within 50 ms, it is.
    pub async fn claim(&self, thing: &str, holder: &str, time: Duration) -> bool {
        let Some(live) = self.live() else {
            return true;
        };
        let (key, holder) = (keys::claim(thing), keys::holder(holder));
        claim(&live, &key, &holder, time).await.unwrap_or(true)
    }

    /// Lets go of `thing`, if `holder` has it.
    pub async fn release(&self, thing: &str, holder: &str) {
        let Some(live) = self.live() else {
            return;
        };
        let (key, holder) = (keys::claim(thing), keys::holder(holder));
        // What is not let go of is free once its time is over.
        if let Ok(true) = is_held(&live, &key, &holder).await {
            let _: Result<i64, _> = live.ask(&Cmd::del(&key), READ_LIMIT).await;
        }
    }
}

async fn claim(live: &Live, key: &str, holder: &str, time: Duration) -> Result<bool, Failure> {
    let set = |existing| {
        let options = SetOptions::default()
            .conditional_set(existing)
            .with_expiration(SetExpiry::EX(time.as_secs().max(1)));
        Cmd::set_options(key, holder, options)
    };
    let taken: Option<String> = live.ask(&set(ExistenceCheck::NX), READ_LIMIT).await?;
    if taken.is_some() {
        return Ok(true);
    }
    let own = is_held(live, key, holder).await?;
    if own {
        let _: Option<String> = live.ask(&set(ExistenceCheck::XX), READ_LIMIT).await?;
    }
    Ok(own)
}

async fn is_held(live: &Live, key: &str, holder: &str) -> Result<bool, Failure> {
    let found: Option<String> = live.ask(&Cmd::get(key), READ_LIMIT).await?;
    Ok(found.as_deref() == Some(holder))
}
