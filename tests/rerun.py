"""What keeps a notebook's cell from being run twice, or changes the kernel for good, found in its syntax tree.

It knows the common causes, not all of them: ``python tools/notebooks.py twice`` runs the cells.
"""

import ast

# Called for their effect on their object.
EFFECTS = {"append", "extend", "insert", "remove", "discard", "pop", "popitem", "sort", "reverse", "step", "backward"}
# A method whose name ends in "_" changes a tensor in place; these leave the same the second time.
SAME_AGAIN = {"requires_grad_", "zero_", "fill_", "copy_"}
# These return their object, a view of it, or what it holds.
VIEWS = {"detach", "view", "view_as", "flatten", "reshape", "squeeze", "unsqueeze", "expand", "transpose", "split"}
VIEWS |= {"chunk", "unbind", "requires_grad_", "values", "items", "get", "setdefault"}
VIEWS |= {"parameters", "modules", "children"}
# They train, or set, what they are given first.
TRAIN = {"training.fit", "SGD", "Adam", "AdamW", "LBFGS", "RMSprop"}
TRAIN |= {"constant_", "normal_", "uniform_", "zeros_", "ones_"}
# What these set holds for the whole process.
GLOBAL = {"set_grad_enabled", "set_default_dtype", "set_default_device", "set_num_threads", "set_num_interop_threads"}
GLOBAL |= {"use_deterministic_algorithms", "set_printoptions", "set_option", "seterr", "set_theme", "set_style"}
GLOBAL |= {"set_context", "set_palette", "switch_backend", "chdir", "putenv", "unsetenv", "setlocale"}
GLOBAL |= {"filterwarnings", "simplefilter", "resetwarnings"}
GLOBAL |= {"rc", "rcdefaults", "use", "ion", "ioff", "basicConfig", "disable", "setrecursionlimit"}
GLOBAL |= {"set_float32_matmul_precision", "set_flush_denormal", "set_detect_anomaly"}
SETTINGS = {"rcParams", "environ", "path"}
# What these return is empty once it was read.
ITERATORS = {"zip", "map", "iter", "enumerate", "filter", "reversed"}


def last_name(node):
    """Return ``c`` of ``a.b.c``, of ``c`` and of a call of either."""
    node = node.func if isinstance(node, ast.Call) else node
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def free(node):
    """Return the names that a function, a lambda or a comprehension looks up outside itself."""
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
    own = {part.arg for part in ast.walk(node) if isinstance(part, ast.arg)}
    own |= {part.id for part in names if isinstance(part.ctx, ast.Store)}
    return {part.id for part in names} - own


class Notebook:
    """What the cells so far have made: names, among them modules, functions with what they read, and iterators."""

    def __init__(self):
        self.names, self.modules, self.functions, self.iterators = set(), set(), {}, set()


class Cell(ast.NodeVisitor):
    """Reads one cell in the order of its execution. ``faults``: what is wrong, a sentence each."""

    def __init__(self, notebook):
        self.notebook, self.faults = notebook, []
        self.owners = {}  # of each name set here: the name of the earlier object that it is or looks into, or None
        self.read = set()  # names of earlier cells

    def fault(self, node, why):
        self.faults.append(f"line {node.lineno}, {ast.unparse(node).splitlines()[0]}: {why}")

    def owner(self, node):
        """Return the name of the earlier cell's object that a node is, or is a part or a view of; None if it is new."""
        while not isinstance(node, ast.Name):
            if isinstance(node, ast.IfExp):
                return self.owner(node.body) or self.owner(node.orelse)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in VIEWS:
                node = node.func
            elif isinstance(node, ast.Attribute | ast.Subscript | ast.Starred):
                node = node.value
            else:
                return None
        return self.owners.get(node.id, node.id if node.id in self.notebook.names else None)

    # Names that are read

    def visit_Name(self, node):
        self.use(node, node.id)

    def use(self, node, name, seen=()):
        """A name is read, and what its function reads when it is called."""
        if name not in self.owners:
            self.read.add(name)
            if name in self.notebook.iterators:
                self.fault(node, f"{name} is an iterator, made in another cell: empty the second time")
        for inner in self.notebook.functions.get(name, ()) if name not in seen else ():
            self.use(node, inner, (*seen, name))

    def visit_Lambda(self, node):
        for name in free(node):
            self.use(node, name)

    # Names that are set

    def bind(self, target, value, owner=None):
        """``target`` is set to ``value``; ``owner``: whose object that is, where value does not say."""
        if isinstance(target, ast.Tuple | ast.List):
            values = value.elts if isinstance(value, ast.Tuple | ast.List) else ()
            each = values if len(values) == len(target.elts) else [value] * len(target.elts)
            for part, its in zip(target.elts, each, strict=True):
                self.bind(part, its, owner)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, value, owner)
        elif isinstance(target, ast.Name):
            if target.id in self.read and target.id not in self.owners:
                self.fault(target, "read before, as another cell made it, and now another")
            self.owners[target.id] = owner or self.owner(value)
            self.notebook.functions.pop(target.id, None)
            self.notebook.iterators.discard(target.id)
        else:
            self.put(target, value)

    def put(self, target, value):
        """A subscript or an attribute is set: harmless where the value does not depend on what stood there."""
        self.visit(target.value)
        owner = self.owner(target)
        if any(last_name(part) in SETTINGS for part in ast.walk(target)):
            self.fault(target, "set for the whole process")
        elif owner in self.notebook.modules:
            self.fault(target, "changes a module")
        elif owner and any(ast.unparse(part) == ast.unparse(target) for part in ast.walk(value or ast.Pass())):
            self.fault(target, "made from itself, in what another cell made")

    def each(self, target, iterable):
        """The target of a loop may be what another cell made."""
        listed, rest = [], [iterable]
        while rest:
            part = rest.pop()
            if isinstance(part, ast.Tuple | ast.List | ast.Set):
                rest += part.elts
            elif isinstance(part, ast.Call) and last_name(part) in ITERATORS:
                rest += part.args
            else:
                listed.append(part)
        owners = [owner for owner in map(self.owner, listed) if owner]
        self.bind(target, None, owners[0] if owners else None)

    def visit_Assign(self, node):
        self.visit(node.value)
        for target in node.targets:
            self.bind(target, node.value)
            if isinstance(target, ast.Name):
                self.remember(target.id, node.value)

    def remember(self, name, value):
        if isinstance(value, ast.Lambda):
            self.notebook.functions[name] = free(value)
        if isinstance(value, ast.GeneratorExp) or (isinstance(value, ast.Call) and last_name(value) in ITERATORS):
            self.notebook.iterators.add(name)

    def visit_NamedExpr(self, node):
        self.visit(node.value)
        self.bind(node.target, node.value)

    def visit_AugAssign(self, node):
        self.visit(node.value)
        if self.owner(node.target):
            self.fault(node, "changes what another cell made")

    def visit_For(self, node):
        self.visit(node.iter)
        self.each(node.target, node.iter)
        for part in node.body + node.orelse:
            self.visit(part)

    def visit_With(self, node):
        if any(last_name(item.context_expr) == "catch_warnings" for item in node.items):
            quiet = Cell(self.notebook)  # warnings may be filtered there
            quiet.owners, quiet.read = self.owners, self.read
            for part in node.body:
                quiet.visit(part)
            self.faults += [why for why in quiet.faults if "filter" not in why]
            return
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars:
                self.bind(item.optional_vars, item.context_expr)
        for part in node.body:
            self.visit(part)

    def visit_FunctionDef(self, node):
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults), *node.decorator_list]:
            self.visit(default)
        for part in ast.walk(node):
            if isinstance(part, ast.Global):
                self.fault(part, "a function that changes the notebook's names")
            elif isinstance(part, ast.Call) and last_name(part) in GLOBAL:
                self.fault(part, "set for the whole process")
        self.bind(ast.Name(node.name, ast.Store(), lineno=node.lineno), None)
        self.notebook.functions[node.name] = free(node)

    def visit_Import(self, node):
        for alias in node.names:
            name = (alias.asname or alias.name).split(".")[0]
            self.notebook.modules.add(name)
            self.notebook.names.add(name)

    visit_ImportFrom = visit_Import

    def visit_Delete(self, node):
        for target in node.targets:
            if self.owner(target):
                self.fault(node, "gone the second time")

    def comprehension(self, node):
        inside = Cell(self.notebook)
        inside.owners = dict(self.owners)
        for generator in node.generators:
            inside.each(generator.target, generator.iter)
        for part in ast.walk(node):
            if isinstance(part, ast.Call):
                inside.check(part)
        self.faults += inside.faults
        for name in free(node):
            self.use(node, name)

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = comprehension

    # Calls

    def visit_Call(self, node):
        self.generic_visit(node)
        self.check(node)

    def check(self, node):
        name = last_name(node)
        if name in GLOBAL:
            self.fault(node, "set for the whole process")
        if (name in TRAIN or ast.unparse(node.func) in TRAIN) and node.args:
            weights = node.args[0].elts if isinstance(node.args[0], ast.List) else node.args[:1]
            if any(owner and owner not in self.notebook.modules for owner in map(self.owner, weights)):
                self.fault(node, "trains or sets what another cell made")
        if isinstance(node.func, ast.Attribute) and (owner := self.owner(node.func.value)):
            in_place = name.endswith("_") and name not in SAME_AGAIN
            if owner in self.notebook.modules:
                if last_name(node.func.value) in SETTINGS and name in EFFECTS | {"update", "setdefault"}:
                    self.fault(node, "set for the whole process")
            elif in_place or name in EFFECTS - {"sort", "reverse"} or (name in EFFECTS and node in self.statements):
                self.fault(node, "changes what another cell made")

    statements = ()

    def visit_Expr(self, node):
        self.statements = (node.value,)  # tensor.sort() returns a new one, list.sort() stands alone
        self.visit(node.value)


def faults(sources):
    """Return what is wrong in the code cells of a notebook, given by their ids in order: a list of sentences."""
    notebook, found = Notebook(), []
    for name, source in sources.items():
        cell = Cell(notebook)
        for statement in ast.parse(source).body:
            cell.visit(statement)
        notebook.names |= set(cell.owners)
        found += [f"{name}, {sentence}" for sentence in cell.faults]
    return found
