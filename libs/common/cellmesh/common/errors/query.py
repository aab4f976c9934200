"""Storm: parsing, running, commands, packages."""

from __future__ import annotations

from cellmesh.common.errors.base import CellError, ErrorReason, StatusCode, describe


class BadSyntax(CellError):
    """The query text does not parse."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_SYNTAX
    field_docs = describe(
        at="offset of the offending character, from 0",
        line="its line, from 1",
        column="its column, from 1",
        text="the query text",
        token="the offending token",
    )


class BadCmdName(CellError):
    """A command name breaks the rules for command names."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_CMD_NAME
    field_docs = describe(name="the name as given")


class BadOperArg(CellError):
    """An operator was given an argument it cannot use."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_OPER_ARG
    field_docs = describe(name="the operator", valu="the argument")


class BadOptValu(CellError):
    """An option was given a value it cannot use."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_OPT_VALU
    field_docs = describe(name="the option", valu="the value as given")


class BadPkgDef(CellError):
    """A package definition cannot be used."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_BAD_PKG_DEF
    field_docs = describe(name="the package")


class CantDelCmd(CellError):
    """A built-in command cannot be removed."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_CANT_DEL_CMD
    field_docs = describe(cmd="the command")


class CantDelNode(CellError):
    """A node cannot be deleted while others refer to it."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_CANT_DEL_NODE
    field_docs = describe(form="the form", iden="the node")


class DmonSpawn(CellError):
    """A background query could not be started."""

    code = StatusCode.INTERNAL
    reason = ErrorReason.ERROR_REASON_DMON_SPAWN
    field_docs = describe(iden="the background query")


class DupStormSvc(CellError):
    """A Storm service of this name is registered already."""

    code = StatusCode.ALREADY_EXISTS
    reason = ErrorReason.ERROR_REASON_DUP_STORM_SVC
    field_docs = describe(name="the service")


class NoSuchAct(CellError):
    """No action has this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_ACT
    field_docs = describe(name="the action")


class NoSuchCmd(CellError):
    """No command has this name."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_CMD
    field_docs = describe(cmd="the command")


class NoSuchCond(CellError):
    """No trigger condition has this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_COND
    field_docs = describe(name="the condition")


class NoSuchCtor(CellError):
    """No constructor has this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_CTOR
    field_docs = describe(name="the constructor")


class NoSuchDyn(CellError):
    """A dotted name leads to nothing that can be loaded."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_DYN
    field_docs = describe(name="the dotted name")


class NoSuchFunc(CellError):
    """No function has this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_FUNC
    field_docs = describe(name="the function")


class NoSuchImpl(CellError):
    """The operation has no implementation here."""

    code = StatusCode.UNIMPLEMENTED
    reason = ErrorReason.ERROR_REASON_NO_SUCH_IMPL
    field_docs = describe(name="the operation")


class NoSuchLift(CellError):
    """There is no lift of this kind."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_LIFT
    field_docs = describe(name="the lift")


class NoSuchMeth(CellError):
    """The object has no method of this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_METH
    field_docs = describe(name="the method")


class NoSuchOpt(CellError):
    """No option has this name."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_OPT
    field_docs = describe(name="the option")


class NoSuchPivot(CellError):
    """No pivot leads from the one form to the other."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_PIVOT
    field_docs = describe(n1="the form at the start", n2="the form at the end")


class NoSuchPkg(CellError):
    """No Storm package of this name is loaded."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_PKG
    field_docs = describe(name="the package")


class NoSuchStormSvc(CellError):
    """No Storm service of this name is registered."""

    code = StatusCode.NOT_FOUND
    reason = ErrorReason.ERROR_REASON_NO_SUCH_STORM_SVC
    field_docs = describe(name="the service")


class NoSuchVar(CellError):
    """The query uses a variable that has no value."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_NO_SUCH_VAR
    field_docs = describe(name="the variable")


class ParserExit(CellError):
    """A command's arguments ended the command early, as help does."""

    code = StatusCode.ABORTED
    reason = ErrorReason.ERROR_REASON_PARSER_EXIT
    field_docs = describe(mesg="what was to be printed")


class RecursionLimitHit(CellError):
    """A query calls itself more deeply than allowed."""

    code = StatusCode.RESOURCE_EXHAUSTED
    reason = ErrorReason.ERROR_REASON_RECURSION_LIMIT_HIT
    field_docs = describe(limit="the depth allowed", query="the start of the query text")


class StormPkgConflicts(CellError):
    """A package cannot live beside one that is loaded."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_STORM_PKG_CONFLICTS
    field_docs = describe(name="the package", conflicts="the names in conflict")


class StormPkgRequires(CellError):
    """A package needs another one that is not loaded."""

    code = StatusCode.FAILED_PRECONDITION
    reason = ErrorReason.ERROR_REASON_STORM_PKG_REQUIRES
    field_docs = describe(name="the package", requires="the names it needs")


class StormRaise(CellError):
    """The query raised an error of its own."""

    code = StatusCode.ABORTED
    reason = ErrorReason.ERROR_REASON_STORM_RAISE
    field_docs = describe(errname="the name given by the query")


class StormRuntimeError(CellError):
    """A query failed while it ran."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_STORM_RUNTIME_ERROR
    field_docs = describe(name="what was used, if it has a name", valu="the value at fault, if any")


class StormVarListError(StormRuntimeError):
    """A list of variables does not match the number of values."""

    code = StatusCode.INVALID_ARGUMENT
    reason = ErrorReason.ERROR_REASON_STORM_VAR_LIST_ERROR
    field_docs = describe(names="the variables", vals="the values")
