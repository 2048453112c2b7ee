//! Settings that are one text in the file, whatever they are inside.

/// What `#[serde(try_from = "String", into = "String")]` asks for: by the type's own `FromStr` and `Display`.
macro_rules! as_text {
    ($setting:ty) => {
        impl TryFrom<String> for $setting {
            type Error = <$setting as std::str::FromStr>::Err;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$setting> for String {
            fn from(setting: $setting) -> Self {
                setting.to_string()
            }
        }
    };
}

pub(crate) use as_text;
