//! A module that is compiled, and one call of it: a fresh instance with bounded fuel and memory.
//!
//! Everything that decides about the outcome is fixed here, so that it is the same on every slave: which extensions of
//! WebAssembly there are, how deep calls go, what each operation costs. A module is compiled as a whole before it is
//! called: compiling at the first call would be charged to whoever is first.

use wasmi::{
    CompilationMode, Config, Engine, ExternType, F32, F64, Linker, Module, Store,
    StoreLimitsBuilder, TrapCode, Val,
};

use super::{Limits, Value};

/// Calls that are not finished at a time. Their values have [`STACK_BYTES_MAX`].
const CALLS_MAX: usize = 10_000;

/// The stack of one call of a module, beside its memory.
const STACK_BYTES_MAX: usize = 4 << 20;

/// What an element of a table is counted as.
const TABLE_ELEMENT_BYTES: usize = 16;

/// Tables that a module may have.
const TABLES_MAX: usize = 16;

/// The most results of a function.
const RESULTS_MAX: usize = 1_000;

/// A module, ready to be called.
pub(super) struct Machine(Module);

impl Machine {
    /// Compiles a module.
    pub(super) fn new(bytes: &[u8]) -> Result<Self, String> {
        let mut config = Config::default();
        config
            .consume_fuel(true)
            .wasm_multi_memory(false)
            .compilation_mode(CompilationMode::Eager)
            .set_max_recursion_depth(CALLS_MAX)
            .set_max_stack_height(STACK_BYTES_MAX)
            .set_max_cached_stacks(1)
            .ignore_custom_sections(true);
        let engine = Engine::new(&config);
        // Compiling checks as it goes, and panics at some bytes that are no module: it gets only what is one.
        let module = Module::validate(&engine, bytes)
            .and_then(|()| Module::new(&engine, bytes))
            .map_err(|error| format!("this is no WebAssembly module: {error}"))?;
        match module.imports().next() {
            None => Ok(Machine(module)),
            Some(import) => Err(format!(
                "the module imports `{}` of `{}`: a module gets nothing from outside but its arguments",
                import.name(),
                import.module()
            )),
        }
    }

    /// Calls a function of a fresh instance; the module's start function runs before it, from the same fuel.
    pub(super) fn call(
        &self,
        function: &str,
        args: &[Value],
        limits: &Limits,
    ) -> Result<Vec<Value>, String> {
        let types = match self.0.get_export(function) {
            Some(ExternType::Func(types)) => types,
            Some(_) => return Err(format!("the module's export `{function}` is no function")),
            None => return Err(format!("the module exports no function `{function}`")),
        };
        let args: Vec<Val> = args.iter().map(|&arg| arg.into()).collect();
        let given: Vec<_> = args.iter().map(Val::ty).collect();
        if given != types.params() {
            let wanted = types.params();
            return Err(format!(
                "`{function}` takes the types {wanted:?}, and was given {given:?}"
            ));
        }
        if types.results().len() > RESULTS_MAX {
            return Err(format!("`{function}` has more than {RESULTS_MAX} results"));
        }
        let engine = self.0.engine();
        // Past a bound the call ends: a module that is told -1 may go on, and give another answer.
        let bytes = usize::try_from(limits.memory_bytes).unwrap_or(usize::MAX);
        let bounds = StoreLimitsBuilder::new()
            .instances(1)
            .memories(1)
            .memory_size(bytes)
            .tables(TABLES_MAX)
            .table_elements(bytes / TABLE_ELEMENT_BYTES / TABLES_MAX)
            .trap_on_grow_failure(true)
            .build();
        let mut store = Store::new(engine, bounds);
        store.limiter(|bounds| bounds);
        let told = |error: wasmi::Error| in_words(&error, function, limits);
        store.set_fuel(limits.fuel).map_err(told)?;
        let instance = Linker::new(engine)
            .instantiate_and_start(&mut store, &self.0)
            .map_err(told)?;
        let mut results: Vec<_> = types
            .results()
            .iter()
            .map(|ty| Val::default_for_ty(*ty))
            .collect();
        let callee = instance.get_func(&store, function);
        let callee = callee.expect("the module exports it");
        callee.call(&mut store, &args, &mut results).map_err(told)?;
        results
            .into_iter()
            .map(|result| match result {
                Val::I32(value) => Ok(Value::I32(value)),
                Val::I64(value) => Ok(Value::I64(value)),
                Val::F32(value) => Ok(Value::F32(value.to_float())),
                Val::F64(value) => Ok(Value::F64(value.to_float())),
                _ => Err(format!("`{function}` returns what is no number")),
            })
            .collect()
    }
}

fn in_words(error: &wasmi::Error, function: &str, limits: &Limits) -> String {
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => format!(
            "`{function}` used up its fuel of {}: it needs more, or has no end",
            limits.fuel
        ),
        Some(TrapCode::GrowthOperationLimited | TrapCode::OutOfSystemMemory) => format!(
            "`{function}` wants more memory than its {} bytes",
            limits.memory_bytes
        ),
        Some(trap) => format!("`{function}` failed: {trap}"),
        // Its own words name numbers of this process, and the end of a call is the same everywhere.
        None => format!(
            "`{function}` failed: the module cannot be set up in {} bytes: its memory, tables or segments do not fit",
            limits.memory_bytes
        ),
    }
}

impl From<Value> for Val {
    fn from(value: Value) -> Val {
        match value {
            Value::I32(value) => Val::I32(value),
            Value::I64(value) => Val::I64(value),
            Value::F32(value) => Val::F32(F32::from_float(value)),
            Value::F64(value) => Val::F64(F64::from_float(value)),
        }
    }
}
