//! The order in which a description names things.

use serde::{Serialize, Serializer};
use serde_json::Value;

/// What people try in Swagger UI, which offers first what is named first.
const FORM: &str = "multipart/form-data";

/// A value that is written with forms before other content types, and all else by name.
pub(in crate::http) struct FormsFirst<'a>(pub &'a Value);

impl Serialize for FormsFirst<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let (forms, others): (Vec<_>, Vec<_>) =
                    fields.iter().partition(|(name, _)| *name == FORM);
                let all = forms.into_iter().chain(others);
                serializer.collect_map(all.map(|(name, value)| (name, FormsFirst(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(FormsFirst)),
            other => other.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn forms_come_first_wherever_they_are() {
        let value =
            json!({"b": [{"application/json": 1, "multipart/form-data": 2, "image/*": 3}], "a": 0});
        assert_eq!(
            serde_json::to_string(&FormsFirst(&value)).unwrap(),
            r#"{"a":0,"b":[{"multipart/form-data":2,"application/json":1,"image/*":3}]}"#
        );
    }
}
