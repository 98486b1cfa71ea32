//! The fields that requests hold: names, types, and what they are for.

/// How a field is read (`wire::Fields`), which is also how it is documented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A text; numbers and booleans become one.
    Text,
    /// A text that is a secret.
    Secret,
    /// A boolean.
    Flag,
    /// A whole number.
    Int,
    /// Whole seconds, or Go's notation of a duration.
    Seconds,
    /// A list, or one text split on commas.
    List,
    /// A list, or one text that is its only element.
    Texts,
    /// An object of texts, or a list of `name=value`.
    Map,
    /// An object of anything.
    Object,
}

/// One field of a route.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// As it is sent.
    pub name: &'static str,
    /// How it is read.
    pub kind: Type,
    /// One sentence for people.
    pub about: &'static str,
    /// Whether no request makes sense without it.
    pub required: bool,
    /// What holds when it is not sent, as JSON; `None` where that depends.
    pub default: Option<&'static str>,
    /// Whether it is kept for old clients only.
    pub old: bool,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident $kind:ident)*) => {
        impl Field {
            $(
                $(#[$doc])*
                pub const fn $name(name: &'static str, about: &'static str) -> Self {
                    Self { name, kind: Type::$kind, about, required: false, default: None, old: false }
                }
            )*
        }
    };
}

constructors! {
    /// A field of [`Type::Text`].
    text Text
    /// A field of [`Type::Secret`].
    secret Secret
    /// A field of [`Type::Flag`].
    flag Flag
    /// A field of [`Type::Int`].
    int Int
    /// A field of [`Type::Seconds`].
    seconds Seconds
    /// A field of [`Type::List`].
    list List
    /// A field of [`Type::Texts`].
    texts Texts
    /// A field of [`Type::Map`].
    map Map
    /// A field of [`Type::Object`].
    object Object
}

impl Field {
    /// The same field, which must be sent.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// The same field with what holds when it is not sent, as JSON.
    #[must_use]
    pub const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    /// The same field, kept for old clients.
    #[must_use]
    pub const fn old(mut self) -> Self {
        self.old = true;
        self
    }
}
