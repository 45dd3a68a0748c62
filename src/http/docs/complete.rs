//! What holds for all routes and would have to be repeated at each: headers, examples of problems, content of forms.

use serde_json::{Map, Value, json};

use crate::http::problem::Kind;

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];
const PROBLEM: &str = "application/problem+json";
const PICTURES: &str = "image/jpeg, image/png, image/webp, image/bmp, image/gif, image/tiff";

/// Completes a description.
pub(super) fn complete(mut api: Value) -> Value {
    if let Some(paths) = api["paths"].as_object_mut() {
        let operations = paths.values_mut().filter_map(Value::as_object_mut);
        for operation in operations.flat_map(|path| path.iter_mut()) {
            if METHODS.contains(&operation.0.as_str()) {
                complete_operation(operation.1);
            }
        }
    }
    if let Some(components) = api["components"].as_object_mut() {
        components.insert("headers".into(), headers());
    }
    // Either of the two fields, and not both. As one of two schemas it could not be tried from Swagger UI.
    let form = &mut api["components"]["schemas"]["PictureForm"];
    if form.is_object() {
        form["oneOf"] = json!([{"required": ["image"]}, {"required": ["file"]}]);
    }
    // Rows within rows, as deep as the shape; types of that kind cannot be derived.
    let data = &mut api["components"]["schemas"]["InferenceInput"]["properties"]["data"];
    if data.is_object() {
        data["items"] = json!({"oneOf": [{"type": "string"}, {"type": "number"}, {"type": "array", "items": {}}]});
    }
    api
}

fn headers() -> Value {
    json!({
        "ServedBy": {
            "description": "Name of the instance that answered",
            "schema": {"type": "string"},
            "example": "relance-1",
        },
        "RequestId": {
            "description": "Identifier of the request, which the logs tell too",
            "schema": {"type": "string", "format": "uuid"},
            "example": "01a1fe85-e09c-74fe-b2c3-5c65b71074c8",
        },
    })
}

fn complete_operation(operation: &mut Value) {
    let body = match operation.get("requestBody") {
        None if operation["tags"][0] == "models" => Content::NoModel,
        None => Content::None,
        Some(_) if operation["tags"][0] == "review" => Content::Review,
        Some(_) if operation["tags"][0] == "models" => Content::Model,
        Some(_) => Content::Pictures,
    };
    if let Some(form) = operation.pointer_mut("/requestBody/content/multipart~1form-data") {
        form["encoding"] = json!({
            "image": {"contentType": PICTURES},
            "file": {"contentType": PICTURES},
        });
    }
    // The Open Inference Protocol has errors of its own form.
    let own_form = operation["tags"] == json!(["inference"]);
    let open = operation["security"] == json!([{}]);
    let (media, schema) = match own_form {
        true => ("application/json", "#/components/schemas/ErrorAnswer"),
        false => (PROBLEM, "#/components/schemas/Problem"),
    };
    let error = |description| json!({"description": description, "content": {media: {"schema": {"$ref": schema}}}});
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    responses
        .entry("500")
        .or_insert_with(|| error("A fault of ours; the log says what"));
    if own_form && !open {
        responses
            .entry("401")
            .or_insert_with(|| error("No or wrong credentials"));
    }
    for (status, response) in responses {
        complete_response(status, response, body);
    }
}

/// What a request brings.
#[derive(Clone, Copy)]
enum Content {
    None,
    Pictures,
    Review,
    Model,
    /// Nothing, and it is about models.
    NoModel,
}

impl Content {
    fn can_have(self, kind: Kind) -> bool {
        let of_models = kind.is_of_models();
        match self {
            Self::None => !kind.needs_body() && !of_models && !kind.is_of_choice(),
            Self::Pictures => !kind.is_of_reviews() && !of_models,
            Self::Review => !kind.is_of_pictures() && !of_models && !kind.is_of_choice(),
            Self::Model => !kind.is_of_pictures() && !kind.is_of_reviews(),
            Self::NoModel => !kind.needs_body(),
        }
    }
}

fn complete_response(status: &str, response: &mut Value, body: Content) {
    response["headers"]["X-Served-By"] = json!({"$ref": "#/components/headers/ServedBy"});
    response["headers"]["X-Request-Id"] = json!({"$ref": "#/components/headers/RequestId"});
    let content = response.get_mut("content");
    let Some(problem) = content.and_then(|content| content.get_mut(PROBLEM)) else {
        return;
    };
    let kinds = Kind::ALL
        .iter()
        .filter(|kind| kind.status().as_str() == status);
    let kinds = kinds.filter(|kind| body.can_have(**kind));
    let examples: Map<_, _> = kinds
        .map(|kind| (kind.slug().to_owned(), example(*kind)))
        .collect();
    problem["examples"] = Value::Object(examples);
}

fn example(kind: Kind) -> Value {
    json!({
        "summary": kind.meaning(),
        "value": {
            "type": kind.urn(),
            "title": kind.title(),
            "status": kind.status().as_u16(),
            "detail": kind.meaning(),
            "error": kind.meaning(),
            "request_id": "01a1fe85-e09c-74fe-b2c3-5c65b71074c8",
        },
    })
}
