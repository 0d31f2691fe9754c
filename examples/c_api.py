"""The C API from Python with ctypes alone: no compiler, nothing to install but libbib_c.so.

    python3 c_api.py libbib_c.so MODEL < TEXTS        answers each line with a JSON object

Model is meant to be copied into a program. Calls let go of Python's lock: threads that share a Model predict side by side.
"""
import ctypes
import json
import math
import sys
import threading
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_size_t, c_uint32, c_void_p, sizeof

ABI_VERSION = 1  # BIB_ABI_VERSION of the bib.h that this file mirrors
NER, TC = 1, 2
CODEPOINTS = 1  # what Python's str counts: text[begin:end] is the entity


class Text(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("size", c_size_t)]

    def __str__(self):
        return ctypes.string_at(self.data, self.size).decode()


class Sized(ctypes.Structure):
    """A structure that says its own size, so that newer libraries know what its caller knows."""

    def __init__(self, **fields):
        super().__init__(struct_size=sizeof(self), **fields)


class ContextOptions(Sized):
    _fields_ = [("struct_size", c_size_t), ("device", c_int), ("device_index", c_int), ("threads", c_int), ("math", c_int)]


class PredictOptions(Sized):
    _fields_ = [("struct_size", c_size_t), ("offsets", c_int), ("no_scores", c_int), ("nbest", c_int), ("top_k", c_int),
                ("threshold", c_double)]


class Entity(Sized):
    _fields_ = [("struct_size", c_size_t), ("begin", c_size_t), ("end", c_size_t), ("label", Text), ("score", c_double)]


class Class(Sized):
    _fields_ = [("struct_size", c_size_t), ("label", Text), ("score", c_double), ("is_answer", c_int)]


FUNCTIONS = {  # name: what it returns, what it takes
    "bib_abi_version": (c_uint32,),
    "bib_last_error": (c_char_p,),
    "bib_context_create": (c_int, POINTER(ContextOptions), POINTER(c_void_p)),
    "bib_context_free": (None, c_void_p),
    "bib_model_load": (c_int, c_void_p, c_char_p, POINTER(c_void_p)),
    "bib_model_free": (None, c_void_p),
    "bib_model_task": (c_int, c_void_p),
    "bib_predict": (c_int, c_void_p, c_void_p, POINTER(Text), c_size_t, POINTER(PredictOptions), POINTER(c_void_p)),
    "bib_predictions_free": (None, c_void_p),
    "bib_entity_count": (c_size_t, c_void_p, c_size_t, c_size_t),
    "bib_entity_get": (c_int, c_void_p, c_size_t, c_size_t, c_size_t, POINTER(Entity)),
    "bib_class_count": (c_size_t, c_void_p, c_size_t),
    "bib_class_get": (c_int, c_void_p, c_size_t, c_size_t, POINTER(Class)),
}


class BibError(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status  # the command's exit codes


class Library:
    def __init__(self, path):
        library = ctypes.CDLL(path)
        for name, (result, *arguments) in FUNCTIONS.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name.removeprefix("bib_"), function)
        if self.abi_version() != ABI_VERSION:
            raise BibError(2, f"{path} has version {self.abi_version()} of the C API; this file knows {ABI_VERSION}")

    def expect(self, status):
        if status:
            raise BibError(status, self.last_error().decode(errors="replace"))


class Handle:
    """Made by one function of the library, freed by another."""

    def __init__(self, free):
        self.value, self.free = c_void_p(), free

    def __del__(self):
        self.free(self.value)


class Model:
    """Immutable, to be shared by threads; each gets a context of its own here."""

    def __init__(self, library, path, threads=0):
        self._bib, self._threads, self._local = Library(library), threads, threading.local()
        self._model = Handle(self._bib.model_free)
        self._bib.expect(self._bib.model_load(self._context(), str(path).encode(), byref(self._model.value)))
        self.task = self._bib.model_task(self._model.value)

    def predict(self, texts, **options):
        """For each text its entities or classes, as dicts. Options are the fields of PredictOptions."""
        encoded = [text.encode() for text in texts]
        views = (Text * len(encoded))(*(Text(ctypes.cast(t, c_void_p), len(t)) for t in encoded))
        found = Handle(self._bib.predictions_free)
        options = PredictOptions(**{"offsets": CODEPOINTS, **options})
        self._bib.expect(self._bib.predict(self._model.value, self._context(), views, len(views), byref(options),
                                           byref(found.value)))
        answer = self._entities if self.task == NER else self._classes
        return [answer(found.value, i) for i in range(len(encoded))]

    def _context(self):
        if not hasattr(self._local, "context"):
            context = Handle(self._bib.context_free)
            self._bib.expect(self._bib.context_create(ContextOptions(threads=self._threads), byref(context.value)))
            self._local.context = context
        return self._local.context.value

    def _entities(self, found, text):
        entities = []
        for i in range(self._bib.entity_count(found, text, 0)):
            e = Entity()
            self._bib.expect(self._bib.entity_get(found, text, 0, i, e))
            score = None if math.isnan(e.score) else e.score
            entities.append({"start": e.begin, "end": e.end, "label": str(e.label), "score": score})
        return entities

    def _classes(self, found, text):
        classes = []
        for i in range(self._bib.class_count(found, text)):
            k = Class()
            self._bib.expect(self._bib.class_get(found, text, i, k))
            classes.append({"label": str(k.label), "score": k.score, "is_answer": bool(k.is_answer)})
        return classes


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        model = Model(sys.argv[1], sys.argv[2])
        texts = [line.rstrip("\n") for line in sys.stdin]
        key = "entities" if model.task == NER else "classes"
        for text, answer in zip(texts, model.predict(texts)):
            print(json.dumps({"text": text, key: answer}, ensure_ascii=False))
    except BibError as error:
        print(error, file=sys.stderr)
        sys.exit(error.status)


if __name__ == "__main__":
    main()
