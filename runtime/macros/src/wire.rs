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
    Ok(())
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
