//! The shapes of messages, read from the sources of their types: what serde writes, with what the comments say.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use serde_json::Value;
use syn::punctuated::Punctuated;
use syn::{Attribute, Expr, ExprLit, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Token, Type as Written};

/// A type of the messages.
pub(crate) struct Shape {
    pub(crate) doc: String,
    pub(crate) form: Form,
}

pub(crate) enum Form {
    Object(Vec<Field>),
    OneOf(Vec<Variant>),
}

pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) holds: Holds,
    pub(crate) doc: String,
}

pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) doc: String,
    pub(crate) body: Body,
}

pub(crate) enum Body {
    /// `"name"`
    Word,
    /// `{"name": …}`
    One(Holds),
    /// `{"name": {…}}`
    Fields(Vec<Field>),
}

/// What stands in a place.
pub(crate) enum Holds {
    /// JSON of one kind, in words for people.
    Plain(Json, &'static str),
    /// Another shape, by its name.
    Named(String),
    Maybe(Box<Self>),
    List(Box<Self>),
    /// Of fixed length.
    Row(Vec<Self>),
}

#[derive(Clone, Copy)]
pub(crate) enum Json {
    Bool,
    Number,
    Text,
    Object,
}

/// Types that are not taken apart: written by hand, or other people's.
const PLAIN: [(&str, Json, &str); 17] = [
    ("bool", Json::Bool, "true or false"),
    ("u16", Json::Number, "number"),
    ("u32", Json::Number, "number"),
    ("u64", Json::Number, "number"),
    ("i64", Json::Number, "number"),
    ("usize", Json::Number, "number"),
    ("String", Json::Text, "text"),
    ("Timestamp", Json::Number, "Unix seconds"),
    ("Kind", Json::Number, "kind"),
    ("EventId", Json::Text, "event id, hex"),
    ("PublicKey", Json::Text, "public key, hex"),
    ("Filter", Json::Object, "filter of NIP-01"),
    ("RelayUrl", Json::Text, "relay URL, normal form"),
    ("RepoAddr", Json::Text, "`30617:<pubkey>:<identifier>`"),
    ("UpstreamId", Json::Number, "number of an upstream"),
    ("Epoch", Json::Number, "epoch"),
    ("BatchId", Json::Number, "number of a batch"),
];

pub(crate) struct Shapes(BTreeMap<String, Shape>);

impl Shapes {
    /// Of every type in a directory of sources.
    pub(crate) fn read(sources: &Path) -> Self {
        let mut shapes = BTreeMap::new();
        for entry in std::fs::read_dir(sources).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            for item in syn::parse_file(&std::fs::read_to_string(&path).unwrap()).unwrap().items {
                shapes.extend(shape(item));
            }
        }
        Self(shapes)
    }

    pub(crate) fn of(&self, name: &str) -> &Shape {
        self.0.get(name).unwrap_or_else(|| panic!("{name} has no shape: give it a row in PLAIN"))
    }

    /// These and all that they are made of, in the order in which they are met.
    pub(crate) fn reached_from(&self, roots: &[&str]) -> Vec<String> {
        let mut waiting: VecDeque<String> = roots.iter().map(|root| (*root).to_owned()).collect();
        let mut met: Vec<String> = Vec::new();
        while let Some(name) = waiting.pop_front() {
            if met.contains(&name) {
                continue;
            }
            let mut below = Vec::new();
            match &self.of(&name).form {
                Form::Object(fields) => fields.iter().for_each(|field| field.holds.names(&mut below)),
                Form::OneOf(variants) => variants.iter().for_each(|variant| variant.names(&mut below)),
            }
            waiting.extend(below);
            met.push(name);
        }
        met
    }

    /// Why a message is not of this shape, if it is not.
    pub(crate) fn misfit(&self, name: &str, message: &Value) -> Option<String> {
        match &self.of(name).form {
            Form::Object(fields) => self.misfit_of_fields(name, fields, message),
            Form::OneOf(variants) => {
                let (word, inner) = match message {
                    Value::String(word) => (word.as_str(), None),
                    Value::Object(object) if object.len() == 1 => {
                        object.iter().next().map(|(word, inner)| (word.as_str(), Some(inner)))?
                    }
                    other => return Some(format!("{name}: {other}")),
                };
                let Some(variant) = variants.iter().find(|variant| variant.name == word) else {
                    return Some(format!("{name}: {word}"));
                };
                match (&variant.body, inner) {
                    (Body::Word, None) => None,
                    (Body::One(holds), Some(inner)) => self.misfit_of(name, holds, inner),
                    (Body::Fields(fields), Some(inner)) => self.misfit_of_fields(name, fields, inner),
                    (Body::Word | Body::One(_) | Body::Fields(_), _) => Some(format!("{name}: {word}")),
                }
            }
        }
    }

    fn misfit_of_fields(&self, name: &str, fields: &[Field], message: &Value) -> Option<String> {
        let Some(object) = message.as_object() else { return Some(format!("{name}: {message}")) };
        if object.len() != fields.len() {
            return Some(format!("{name} has other fields than {:?}", object.keys().collect::<Vec<_>>()));
        }
        fields.iter().find_map(|field| match object.get(&field.name) {
            Some(value) => self.misfit_of(&format!("{name}.{}", field.name), &field.holds, value),
            None => Some(format!("{name} has no {}", field.name)),
        })
    }

    fn misfit_of(&self, place: &str, holds: &Holds, value: &Value) -> Option<String> {
        let is_it = match (holds, value) {
            (Holds::Maybe(_), Value::Null) => true,
            (Holds::Maybe(inner), value) => return self.misfit_of(place, inner, value),
            (Holds::Named(name), value) => return self.misfit(name, value),
            (Holds::List(inner), Value::Array(all)) => return all.iter().find_map(|one| self.misfit_of(place, inner, one)),
            (Holds::Row(parts), Value::Array(all)) if parts.len() == all.len() => {
                return parts.iter().zip(all).find_map(|(part, one)| self.misfit_of(place, part, one));
            }
            (Holds::Plain(Json::Bool, _), Value::Bool(_))
            | (Holds::Plain(Json::Number, _), Value::Number(_))
            | (Holds::Plain(Json::Text, _), Value::String(_))
            | (Holds::Plain(Json::Object, _), Value::Object(_)) => true,
            _ => false,
        };
        (!is_it).then(|| format!("{place}: {value}"))
    }
}

impl Variant {
    fn names(&self, into: &mut Vec<String>) {
        match &self.body {
            Body::Word => {}
            Body::One(holds) => holds.names(into),
            Body::Fields(fields) => fields.iter().for_each(|field| field.holds.names(into)),
        }
    }
}

impl Holds {
    /// As a table says it.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Plain(_, words) => (*words).to_owned(),
            Self::Named(name) => format!("[{name}](#{})", name.to_lowercase()),
            Self::Maybe(inner) => format!("{} or null", inner.words()),
            Self::List(inner) => format!("list of: {}", inner.words()),
            Self::Row(parts) => format!("`[`{}`]`", parts.iter().map(Self::words).collect::<Vec<_>>().join(", ")),
        }
    }

    fn names(&self, into: &mut Vec<String>) {
        match self {
            Self::Plain(..) => {}
            Self::Named(name) => into.push(name.clone()),
            Self::Maybe(inner) | Self::List(inner) => inner.names(into),
            Self::Row(parts) => parts.iter().for_each(|part| part.names(into)),
        }
    }
}

fn shape(item: Item) -> Option<(String, Shape)> {
    match item {
        Item::Struct(one) => {
            let Fields::Named(_) = one.fields else { return None };
            let form = Form::Object(fields(one.fields));
            Some((one.ident.to_string(), Shape { doc: doc(&one.attrs), form }))
        }
        Item::Enum(one) => {
            let style = serde_word(&one.attrs, "rename_all");
            let variants = one.variants.into_iter().map(|variant| {
                let own = serde_word(&variant.attrs, "rename");
                let name = own.unwrap_or_else(|| renamed(&variant.ident.to_string(), style.as_deref()));
                let body = match variant.fields {
                    Fields::Unit => Body::Word,
                    Fields::Unnamed(all) => Body::One(holds(&all.unnamed[0].ty)),
                    named @ Fields::Named(_) => Body::Fields(fields(named)),
                };
                Variant { name, doc: doc(&variant.attrs), body }
            });
            Some((one.ident.to_string(), Shape { doc: doc(&one.attrs), form: Form::OneOf(variants.collect()) }))
        }
        _ => None,
    }
}

fn fields(fields: Fields) -> Vec<Field> {
    let field = |field: syn::Field| Field {
        name: serde_word(&field.attrs, "rename").unwrap_or_else(|| field.ident.as_ref().unwrap().to_string()),
        holds: holds(&field.ty),
        doc: doc(&field.attrs),
    };
    fields.into_iter().map(field).collect()
}

fn holds(written: &Written) -> Holds {
    match written {
        Written::Tuple(parts) => Holds::Row(parts.elems.iter().map(holds).collect()),
        Written::Path(path) => {
            let last = path.path.segments.last().unwrap();
            let inner = || match &last.arguments {
                PathArguments::AngleBracketed(all) => match &all.args[0] {
                    GenericArgument::Type(inner) => holds(inner),
                    _ => panic!("an argument that is no type"),
                },
                PathArguments::None | PathArguments::Parenthesized(_) => panic!("{} of nothing", last.ident),
            };
            match last.ident.to_string().as_str() {
                "Option" => Holds::Maybe(Box::new(inner())),
                "Vec" => Holds::List(Box::new(inner())),
                "Box" => inner(),
                name => match PLAIN.iter().find(|(plain, ..)| *plain == name) {
                    Some((_, json, words)) => Holds::Plain(*json, words),
                    None => Holds::Named(name.to_owned()),
                },
            }
        }
        _ => panic!("a type that no message has"),
    }
}

/// The value of `#[serde(name = "…")]`.
fn serde_word(attributes: &[Attribute], name: &str) -> Option<String> {
    attributes.iter().filter(|one| one.path().is_ident("serde")).find_map(|one| {
        let inner = one.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
        inner.iter().find_map(|meta| match meta {
            Meta::NameValue(pair) if pair.path.is_ident(name) => text(&pair.value),
            _ => None,
        })
    })
}

/// What its comment says, on one line.
fn doc(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|one| match &one.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => text(&pair.value),
        _ => None,
    });
    let joined = lines.map(|line| line.trim().to_owned()).collect::<Vec<_>>().join(" ");
    without_links(&joined)
}

fn text(value: &Expr) -> Option<String> {
    match value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

/// Links lead into the code: `[word](path)` and `[word]` become the word.
fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("[`") {
        out.push_str(before);
        let Some((word, behind)) = after.split_once("`]") else { break };
        out.push_str(&format!("`{word}`"));
        rest = match behind.strip_prefix('(').and_then(|path| path.split_once(')')) {
            Some((_, behind)) => behind,
            None => behind,
        };
    }
    out.push_str(rest);
    out
}

fn renamed(variant: &str, style: Option<&str>) -> String {
    let joint = match style {
        Some("snake_case") => '_',
        Some("kebab-case") => '-',
        None => return variant.to_owned(),
        Some(other) => panic!("{other} is a style that no message has"),
    };
    let mut name = String::new();
    for letter in variant.chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push(joint);
        }
        name.push(letter.to_ascii_lowercase());
    }
    name
}
