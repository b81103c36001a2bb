//! One service's section of one configuration in the text of another.

use toml_edit::{DocumentMut, Item};

/// `text` with the section of `service` as it is in `from`; without it if `from` has none.
///
/// # Errors
/// When one of the two is no TOML.
pub fn with_section_of(service: &str, text: &[u8], from: &[u8]) -> Result<Vec<u8>, String> {
    let (mut document, from) = (parse(text)?, parse(from)?);
    let old = from
        .get("services")
        .and_then(Item::as_table_like)
        .and_then(|services| services.get(service));
    let services = document
        .get_mut("services")
        .and_then(Item::as_table_like_mut);
    match (services, old) {
        (Some(services), Some(old)) => {
            let mut old = old.clone();
            let place = services
                .get(service)
                .and_then(Item::as_table)
                .and_then(toml_edit::Table::position);
            if let Some(table) = old.as_table_mut() {
                table.set_position(place);
            }
            services.insert(service, old);
        }
        (Some(services), None) => {
            services.remove(service);
        }
        (None, Some(old)) => {
            document["services"][service] = old.clone();
        }
        (None, None) => {}
    }
    Ok(document.to_string().into_bytes())
}

fn parse(text: &[u8]) -> Result<DocumentMut, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    let text = text.trim_start_matches('\u{feff}');
    text.parse()
        .map_err(|error: toml_edit::TomlError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spliced(text: &str, from: &str) -> toml::Table {
        let text = with_section_of("a", text.as_bytes(), from.as_bytes()).unwrap();
        toml::from_str(std::str::from_utf8(&text).unwrap()).unwrap()
    }

    fn toml(text: &str) -> toml::Table {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn one_section_goes_back_and_the_rest_stays() {
        let now = "[host]\nx = 2\n[services.a]\nplugin = 'new'\n[services.a.settings]\nn = 2\n[services.b]\nplugin = 'b2'\n";
        let old = "[services.b]\nplugin = 'b1'\n[host]\nx = 1\n[services.a]\nplugin = 'old'\nlisten = ['y']\n[services.a.settings]\nn = 1\n";
        assert_eq!(
            spliced(now, old),
            toml(
                "[host]\nx = 2\n[services.a]\nplugin = 'old'\nlisten = ['y']\nsettings.n = 1\n[services.b]\nplugin = 'b2'\n"
            )
        );
    }

    #[test]
    fn inline_and_dotted_tables_are_sections_as_well() {
        assert_eq!(
            spliced(
                "services = { a = { plugin = 'new' }, b = { plugin = 'b' } }",
                "services.a.plugin = 'old'\n"
            ),
            toml("services = { a = { plugin = 'old' }, b = { plugin = 'b' } }")
        );
        assert_eq!(
            spliced(
                "services.a.plugin = 'new'\n",
                "[services.a]\nplugin = 'old'\n"
            ),
            toml("services.a.plugin = 'old'\n")
        );
        assert_eq!(spliced("[services.a]\nplugin = 'a'\n", "x = 1"), toml(""));
    }
}
