//! What is to serve.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::Reference;

/// What is to serve, as `serving.json` says it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The model that answers.
    pub active: Reference,
    /// The model that is tried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<Trial>,
    /// Who said so: the name of a user or key.
    pub changed_by: String,
    /// When (UTC).
    pub changed_at: Timestamp,
}

/// A model that is tried out beside the one that answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trial {
    /// The model.
    pub model: Reference,
    /// How.
    pub role: Role,
    /// Share of the traffic, above 0 and up to 1.
    pub share: f64,
    /// Since when (UTC).
    pub since: Timestamp,
}

/// How a model is tried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It classifies a share of the new pictures again, after they were answered and when nothing else waits. Nobody
    /// gets to see its answers but those who compare them.
    Shadow,
    /// It answers a share of the clients, always the same ones; and a share of the others' new pictures are compared as
    /// with a shadow.
    Canary,
}

impl Role {
    /// As text, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shadow => "shadow",
            Self::Canary => "canary",
        }
    }
}

impl Plan {
    /// Reads the content of the file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let plan: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match &plan.candidate {
            Some(trial) if !is_share(trial.share) => Err(format!(
                "share is {}; accepted is 0 < share ≤ 1",
                trial.share
            )),
            _ => Ok(plan),
        }
    }

    /// The content of the file, for people too.
    pub(super) fn bytes(&self) -> Vec<u8> {
        // Nothing in it can fail to be written.
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Whether it can be a share of the traffic: above 0 and up to 1.
pub fn is_share(share: f64) -> bool {
    share > 0.0 && share <= 1.0
}

/// State of a plan: equal tags, equal plans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tag(pub(super) Option<String>);

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan {
            active: "bottle@2".parse().unwrap(),
            candidate: Some(Trial {
                model: "bottle@3".parse().unwrap(),
                role: Role::Canary,
                share: 0.1,
                since: Timestamp::UNIX_EPOCH,
            }),
            changed_by: "ana".into(),
            changed_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_plan_comes_back_as_it_was() {
        assert_eq!(Plan::parse(&plan().bytes()).unwrap(), plan());
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        let text = String::from_utf8(plan().bytes()).unwrap();
        for (from, to) in [
            ("0.1", "0.0"),
            ("0.1", "1.5"),
            ("bottle@2", "bottle"),
            ("canary", "parrot"),
            ("changed_by", "by"),
        ] {
            assert!(text.contains(from));
            assert!(
                Plan::parse(text.replace(from, to).as_bytes()).is_err(),
                "{to}"
            );
        }
    }
}
