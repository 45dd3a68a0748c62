//! Languages of problem titles.

use axum::http::HeaderValue;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Portuguese,
}

impl Language {
    /// For `Content-Language`. Only titles are translated, details are always English.
    pub(super) fn tag(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::English => "en",
            Self::Portuguese => "pt, en",
        })
    }
}

/// Portuguese if `Accept-Language` puts it before English, else English.
pub(super) fn preferred(accept_language: Option<&HeaderValue>) -> Language {
    let text = accept_language.and_then(|value| value.to_str().ok());
    let text = text.unwrap_or_default();
    match weight(text, "pt") {
        Some((weight, place)) if weight > 0.0 => match weight_of_english(text) {
            Some((english, _)) if english > weight => Language::English,
            Some((english, before)) if english == weight && before < place => Language::English,
            _ => Language::Portuguese,
        },
        _ => Language::English,
    }
}

fn weight_of_english(text: &str) -> Option<(f32, usize)> {
    weight(text, "en").or_else(|| weight(text, "*"))
}

/// The highest weight given to a language or one of its variants, and at which place it stands.
fn weight(text: &str, language: &str) -> Option<(f32, usize)> {
    let mut best: Option<(f32, usize)> = None;
    for (place, range) in text.split(',').enumerate() {
        let (tag, parameter) = range.split_once(';').unwrap_or((range, "q=1"));
        let primary = tag.trim().split('-').next().unwrap_or_default();
        if !primary.eq_ignore_ascii_case(language) {
            continue;
        }
        let weight = parameter.trim().strip_prefix("q=");
        let weight = weight.and_then(|q| q.parse().ok()).unwrap_or(0.0);
        if best.is_none_or(|(most, _)| weight > most) {
            best = Some((weight, place));
        }
    }
    best
}

/// Title of the kind of problem with this stable name.
pub(super) fn portuguese(slug: &str) -> Option<&'static str> {
    Some(match slug {
        "bad-model-change" => "Mudança de modelos malformada",
        "unknown-model" => "Modelo inexistente",
        "forbidden" => "Não permitido",
        "unusable-model" => "Modelo não pode ser servido",
        "model-conflict" => "Modelos não podem ser mudados assim",
        "models-unavailable" => "Modelos indisponíveis",
        "bad-parameter" => "Parâmetro inválido",
        "empty-body" => "Corpo vazio",
        "missing-field" => "Falta um campo",
        "several-pictures" => "Várias imagens em uma requisição",
        "malformed-multipart" => "Corpo multipart malformado",
        "unreadable-body" => "Corpo ilegível",
        "bad-review" => "Revisão malformada",
        "unknown-label" => "Rótulo desconhecido",
        "bad-reference" => "Referência malformada",
        "unknown-reference" => "Não há imagem com essa referência",
        "unauthorised" => "Credenciais necessárias",
        "not-found" => "Não encontrado",
        "method-not-allowed" => "Método não permitido",
        "slow-body" => "Corpo lento demais",
        "too-large" => "Envio grande demais",
        "too-many-pixels" => "Imagem com pixels demais",
        "unsupported-media-type" => "Tipo de conteúdo não suportado",
        "unsupported-picture" => "Não é uma imagem suportada",
        "damaged-picture" => "A imagem não pode ser decodificada",
        "internal" => "Erro interno",
        "rate-limited" => "Requisições demais",
        "login-throttled" => "Credenciais erradas demais",
        "busy" => "Ocupado demais",
        "storage-unavailable" => "Armazenamento indisponível",
        "deadline" => "Sem resposta a tempo",
        "spool-full" => "Há coisas demais à espera do armazenamento compartilhado",
        "storage-full" => "Armazenamento cheio",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_that_is_preferred_wins() {
        for (text, language) in [
            ("", Language::English),
            ("pt", Language::Portuguese),
            ("PT-br", Language::Portuguese),
            ("pt-PT,pt;q=0.9,en;q=0.8", Language::Portuguese),
            ("en-GB,en;q=0.9,pt;q=0.8", Language::English),
            ("en;q=0.3, pt;q=0.4", Language::Portuguese),
            ("pt, en", Language::Portuguese),
            ("en, pt", Language::English),
            ("fr, pt;q=0.5", Language::Portuguese),
            ("fr", Language::English),
            ("*", Language::English),
            ("pt;q=0", Language::English),
            ("pt;q=0.2, *;q=0.5", Language::English),
            ("pt;q=x", Language::English),
            ("ptx", Language::English),
            (";;,,=", Language::English),
        ] {
            let value = HeaderValue::from_str(text).unwrap();
            assert_eq!(preferred(Some(&value)), language, "{text:?}");
        }
        assert_eq!(preferred(None), Language::English);
    }
}
