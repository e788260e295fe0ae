"""The network between the prepared columns and the output, as Keras layers."""

from stages.lib.backend import keras
from stages.lib.params import Train


@keras.saving.register_keras_serializable("training only")
class RepeatableDense(keras.layers.Dense):
    """`Dense` whose matrix product is written as multiply and sum.

    A matrix product adds in an order that depends on the CPU; under XLA this one does not. It
    serves training and scoring; the saved model has `Dense` layers.
    """

    def call(self, inputs: keras.KerasTensor, training: bool | None = None) -> keras.KerasTensor:
        products = keras.ops.expand_dims(inputs, 2) * self.kernel
        return self.activation(keras.ops.sum(products, axis=1) + self.bias)


def layers(train: Train, dense: type[keras.layers.Dense]) -> list[keras.layers.Layer]:
    """The layers: for each number of `train.units` a dense layer (and dropout), then the output."""
    stack: list[keras.layers.Layer] = []
    for number, units in enumerate(train.units, start=1):
        stack.append(
            dense(
                units,
                activation=train.activation,
                kernel_initializer=train.kernel_initializer,
                kernel_regularizer=keras.regularizers.L2(train.l2) if train.l2 else None,
                name=f"hidden_{number}",
            )
        )
        if train.dropout:
            stack.append(keras.layers.Dropout(train.dropout, seed=train.seed + number))
    output = dense(
        1, activation="sigmoid", kernel_initializer=train.kernel_initializer, name="probability"
    )
    return [*stack, output]


def compiled(stack: list[keras.layers.Layer], width: int, train: Train) -> keras.Model:
    """A compiled Keras model of these layers over `width` prepared columns."""
    model = keras.Sequential([keras.Input((width,)), *stack])
    optimizer = keras.optimizers.get(
        {"class_name": train.optimizer, "config": {"learning_rate": train.learning_rate}}
    )
    loss = "binary_crossentropy" if train.loss == "auto" else train.loss
    model.compile(optimizer=optimizer, loss=loss, metrics=["accuracy"], jit_compile=False)
    return model
