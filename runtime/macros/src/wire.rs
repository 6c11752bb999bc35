//! `#[wire]`: rkyv's derives, and an implementation of `ringmw::Wire` that names and hashes the structure.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Data, DeriveInput, Error, Field, Fields, GenericParam, Path, Result, Token,
    WherePredicate, parse_quote, parse_quote_spanned,
};

pub(crate) fn expand(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let parsed = if arguments.is_empty() {
        syn::parse2::<DeriveInput>(item.clone()).map_err(|error| {
            Error::new(
                error.span(),
                format!("`#[wire]` goes on a struct or an enum ({error})"),
            )
        })
    } else {
        Err(Error::new_spanned(
            arguments,
            "`#[wire]` takes no arguments",
        ))
    };
    match parsed.and_then(|input| check(&input).map(|()| input)) {
        Ok(input) => expand_type(input),
        // The item goes out as well, so that nothing else complains of its absence.
        Err(error) => [error.into_compile_error(), item].into_iter().collect(),
    }
}

/// What could never work is told here, in our words, before rkyv's derives tell it in theirs.
fn check(input: &DeriveInput) -> Result<()> {
    if let Data::Union(data) = &input.data {
        let message =
            "a union cannot travel: nothing says which of its fields is there; use an enum";
        return Err(Error::new_spanned(data.union_token, message));
    }
    for parameter in &input.generics.params {
        if let GenericParam::Lifetime(lifetime) = parameter {
            let message = "a type that borrows cannot travel: own the data (`String` for `&str`, `Vec<T>` for `&[T]`)";
            return Err(Error::new_spanned(lifetime, message));
        }
    }
    for field in fields(&input.data) {
        let mut words = Vec::new();
        flatten(field.ty.to_token_stream(), &mut words);
        if let Some(token) = words
            .iter()
            .find(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '&'))
        {
            let message = "a reference cannot travel: own the data (`String` for `&str`, `Vec<T>` for `&[T]`)";
            return Err(Error::new(token.span(), message));
        }
        let itself = |token: &&TokenTree| matches!(token, TokenTree::Ident(ident) if *ident == input.ident || ident == "Self");
        if let Some(token) = words.iter().find(itself) {
            let message = "a type that contains itself cannot travel, a peer could nest it without end: \
                           put the parts into a `Vec` and refer to them by index";
            return Err(Error::new(token.span(), message));
        }
    }
    match circles::closed_by(input) {
        Some((at, way)) => {
            let message = format!(
                "types that contain one another cannot travel, a peer could nest them without end: {way}; \
                 put the parts into a `Vec` and refer to them by index"
            );
            Err(Error::new(at, message))
        }
        None => Ok(()),
    }
}

/// Types that contain one another. The compiler would say that it cannot tell whether they travel.
///
/// An attribute sees one type. So the names that the types of a file are made of are remembered from one to the next;
/// a name that stands for two types there says nothing.
mod circles {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::{Mutex, PoisonError};

    use proc_macro2::{Span, TokenTree};
    use quote::ToTokens;
    use syn::DeriveInput;

    use super::{fields, flatten};

    static SEEN: Mutex<BTreeMap<Name, Seen>> = Mutex::new(BTreeMap::new());

    /// File and name.
    type Name = (String, String);

    struct Seen {
        line: usize,
        is_one: bool,
        parts: BTreeSet<String>,
    }

    /// The names that a type is made of, each with its place: those that stand alone, without a path.
    fn parts(input: &DeriveInput) -> Vec<(String, Span)> {
        let is_own = |name: &str| {
            let mut parameters = input.generics.type_params();
            parameters.any(|parameter| parameter.ident == name)
        };
        let mut parts = Vec::new();
        for field in fields(&input.data) {
            let mut words = Vec::new();
            flatten(field.ty.to_token_stream(), &mut words);
            let mut after_path = false;
            for (nth, word) in words.iter().enumerate() {
                let is_colon = |at: usize| matches!(words.get(at), Some(TokenTree::Punct(punct)) if punct.as_char() == ':');
                if let TokenTree::Ident(ident) = word
                    && !after_path
                    && !is_colon(nth + 1)
                    && !is_own(&ident.to_string())
                {
                    parts.push((ident.to_string(), ident.span()));
                }
                after_path = is_colon(nth);
            }
        }
        parts
    }

    /// The field of this type that closes a circle, and the way around it.
    pub(super) fn closed_by(input: &DeriveInput) -> Option<(Span, String)> {
        if !proc_macro::is_available() {
            return None;
        }
        let place = input.ident.span().unwrap();
        let (file, line) = (place.file(), place.line());
        let name = input.ident.to_string();
        let parts = parts(input);
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let is_one = seen
            .get(&(file.clone(), name.clone()))
            .is_none_or(|seen| seen.is_one && seen.line == line);
        let new = Seen {
            line,
            is_one,
            parts: parts.iter().map(|(part, _)| part.clone()).collect(),
        };
        seen.insert((file.clone(), name.clone()), new);
        if !is_one {
            return None;
        }
        parts.into_iter().find_map(|(part, at)| {
            let way = way(&seen, &file, &part, &name)?;
            let names = [name.clone()].into_iter().chain(way);
            let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
            Some((at, names.join(" has ")))
        })
    }

    /// From one type of the file to another, the shortest.
    fn way(seen: &BTreeMap<Name, Seen>, file: &str, from: &str, to: &str) -> Option<Vec<String>> {
        let mut ways = std::collections::VecDeque::from([vec![from.to_owned()]]);
        let mut met = BTreeSet::from([from.to_owned()]);
        while let Some(way) = ways.pop_front() {
            let last = way.last().expect("it begins somewhere");
            if last == to {
                return Some(way);
            }
            let next = seen.get(&(file.to_owned(), last.clone()));
            for part in next
                .into_iter()
                .filter(|next| next.is_one)
                .flat_map(|next| &next.parts)
            {
                if met.insert(part.clone()) {
                    ways.push_back([&way[..], std::slice::from_ref(part)].concat());
                }
            }
        }
        None
    }
}

pub(crate) fn flatten(tokens: TokenStream, flat: &mut Vec<TokenTree>) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => flatten(group.stream(), flat),
            token => flat.push(token),
        }
    }
}

fn fields(data: &Data) -> Vec<&Field> {
    match data {
        Data::Struct(data) => data.fields.iter().collect(),
        Data::Enum(data) => data
            .variants
            .iter()
            .flat_map(|variant| &variant.fields)
            .collect(),
        Data::Union(data) => data.fields.named.iter().collect(),
    }
}

fn expand_type(input: DeriveInput) -> TokenStream {
    let name = &input.ident;
    let text = unraw(name);
    let cfgs: Vec<&Attribute> = input
        .attrs
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .collect();
    let structure = match &input.data {
        Data::Struct(data) => Structure::of_fields(&data.fields),
        Data::Enum(data) => Structure::of_variants(data),
        Data::Union(_) => unreachable!("checked before"),
    };
    let Structure { hash, describe } = structure;

    let mut generics = input.generics.clone();
    let parameters: Vec<Ident> = generics
        .type_params()
        .map(|parameter| parameter.ident.clone())
        .collect();
    for parameter in generics.type_params_mut() {
        parameter.default = None;
        parameter.bounds.push(parse_quote!(::ringmw::Wire));
    }
    // As bounds the field types are complained of once, where they are written.
    let field_bounds: Vec<WherePredicate> = fields(&input.data)
        .into_iter()
        .map(|field| {
            let ty = &field.ty;
            parse_quote_spanned!(ty.span()=> #ty: ::ringmw::Wire)
        })
        .collect();
    generics.make_where_clause().predicates.extend(field_bounds);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let parameter_text = (!parameters.is_empty()).then(|| {
        quote! {
            let parameters: &[fn(&mut ::std::string::String)] = &[#(<#parameters as ::ringmw::Wire>::describe),*];
            ::ringmw::__private::describe_parameters(out, parameters);
        }
    });
    let key_derives = key_derives(&input.attrs);
    // The complaint about a field comes first, then rkyv's about the same.
    quote! {
        #(#cfgs)*
        #[automatically_derived]
        impl #impl_generics ::ringmw::Wire for #name #type_generics #where_clause {
            const TYPE_HASH: u64 = {
                ::ringmw::__private::assert_unaligned::<Self>();
                let hash = ::ringmw::__private::hash_text(::ringmw::__private::hash_start(), #text);
                #hash
                hash
            };

            fn describe(out: &mut ::std::string::String) {
                out.push_str(#text);
                #parameter_text
                #describe
            }
        }

        #(#cfgs)*
        #[automatically_derived]
        impl #impl_generics ::ringmw::Outcome for #name #type_generics #where_clause {
            type Output = Self;

            fn into_outcome(self) -> ::std::result::Result<Self, ::std::string::String> {
                ::std::result::Result::Ok(self)
            }
        }

        #[derive(::ringmw::rkyv::Archive, ::ringmw::rkyv::Serialize, ::ringmw::rkyv::Deserialize)]
        #[rkyv(crate = ::ringmw::rkyv #key_derives)]
        #input
    }
}

/// Statements that go on hashing `hash`, and statements that append to `out`.
struct Structure {
    hash: TokenStream,
    describe: TokenStream,
}

impl Structure {
    fn of_fields(fields: &Fields) -> Self {
        let (open, close) = match fields {
            Fields::Named(_) => ("{", "}"),
            Fields::Unnamed(_) => ("(", ")"),
            Fields::Unit => {
                return Self {
                    hash: quote!(),
                    describe: quote!(),
                };
            }
        };
        let mut hash = quote!(let hash = ::ringmw::__private::hash_text(hash, #open););
        let mut describe = TokenStream::new();
        for (index, field) in fields.iter().enumerate() {
            let label = field
                .ident
                .as_ref()
                .map_or_else(String::new, |name| format!("{}:", unraw(name)));
            let lead = format!("{}{label}", if index == 0 { open } else { "," });
            let ty = &field.ty;
            // Named after the place of the field: it is there that a type which cannot travel is reported.
            let hash_type = quote_spanned!(ty.span()=> ::ringmw::__private::hash_type::<#ty>(hash));
            hash.extend(quote! {
                let hash = ::ringmw::__private::hash_text(hash, #label);
                let hash = #hash_type;
            });
            let describe_type =
                quote_spanned!(ty.span()=> ::ringmw::__private::describe_type::<#ty>(out));
            describe.extend(quote! {
                out.push_str(#lead);
                #describe_type;
            });
        }
        if fields.is_empty() {
            describe.extend(quote!(out.push_str(#open);));
        }
        describe.extend(quote!(out.push_str(#close);));
        Self { hash, describe }
    }

    fn of_variants(data: &syn::DataEnum) -> Self {
        let mut hash = TokenStream::new();
        let mut describe = TokenStream::new();
        for (index, variant) in data.variants.iter().enumerate() {
            let name = unraw(&variant.ident);
            let lead = format!("{}{name}", if index == 0 { "{" } else { "|" });
            let part = Self::of_fields(&variant.fields);
            hash.extend(quote!(let hash = ::ringmw::__private::hash_text(hash, #name);));
            hash.extend(part.hash);
            describe.extend(quote!(out.push_str(#lead);));
            describe.extend(part.describe);
        }
        describe.extend(quote!(out.push_str("}");));
        Self { hash, describe }
    }
}

pub(crate) fn unraw(ident: &Ident) -> String {
    let text = ident.to_string();
    text.strip_prefix("r#").map_or(text.clone(), str::to_owned)
}

/// rkyv finds the keys of an archived map by comparing archived keys, so those derive what the type itself derives.
fn key_derives(attributes: &[Attribute]) -> TokenStream {
    const OF_KEYS: [&str; 5] = ["PartialEq", "Eq", "PartialOrd", "Ord", "Hash"];
    let derived: Vec<Path> = attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("derive"))
        .filter_map(|attribute| {
            attribute
                .parse_args_with(syn::punctuated::Punctuated::<Path, Token![,]>::parse_terminated)
                .ok()
        })
        .flatten()
        .collect();
    let has = |name: &str| {
        derived
            .iter()
            .any(|path| path.segments.last().is_some_and(|last| last.ident == name))
    };
    if !has("Hash") && !has("Ord") {
        return TokenStream::new();
    }
    let derives = OF_KEYS
        .iter()
        .filter(|name| has(name))
        .map(|name| format_ident!("{name}"));
    quote!(, derive(#(#derives),*))
}
