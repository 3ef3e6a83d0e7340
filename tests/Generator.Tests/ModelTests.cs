using System.Reflection;
using System.Runtime.CompilerServices;
using KernelGen.Generator.Models;
using KernelGen.Generator.Planning;

namespace KernelGen.Generator.Tests;

/// <summary>
/// What flows through the pipeline must compare by value and hold nothing of a compilation: a symbol in a model would keep every old
/// compilation in memory and make every keystroke a change.
/// </summary>
public sealed class ModelTests
{
    [Theory]
    [InlineData(typeof(KernelSpec))]
    [InlineData(typeof(CpuPlan))]
    [InlineData(typeof(DecoderSpec))]
    public void A_model_is_made_of_values_alone(Type model)
    {
        HashSet<Type> seen = [];
        Check(model, model.Name, seen);

        // The walk went somewhere.
        Assert.Contains(typeof(int), seen);
        Assert.Contains(typeof(string), seen);
    }

    [Fact]
    public void The_check_finds_what_it_looks_for()
    {
        Assert.ThrowsAny<Exception>(() => Check(typeof(RecordWithAnArray), "model", []));
        Assert.ThrowsAny<Exception>(() => Check(typeof(ModelTests), "model", []));
    }

    private static void Check(Type type, string path, HashSet<Type> seen)
    {
        if (!seen.Add(type) || type.IsPrimitive || type.IsEnum || type == typeof(string))
        {
            return;
        }

        if (type.IsGenericType && type.GetGenericTypeDefinition() == typeof(EquatableArray<>))
        {
            Check(type.GetGenericArguments()[0], $"{path}[]", seen);
            return;
        }

        Assert.True(IsRecord(type), $"{path} is a {type}: neither a primitive, a string, an enum, an EquatableArray nor a record.");
        foreach (FieldInfo field in type.GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic))
        {
            Check(field.FieldType, $"{path}.{field.Name}", seen);
        }
    }

    private static bool IsRecord(Type type) =>
        type.GetMethods(BindingFlags.Instance | BindingFlags.NonPublic).Any(method =>
            method.Name == "PrintMembers" && (method.IsDefined(typeof(CompilerGeneratedAttribute)) || type.IsValueType));

    private sealed record RecordWithAnArray(int[] Values);
}
